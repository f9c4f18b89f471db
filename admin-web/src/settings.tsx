import { createContext, useContext, useMemo, useState, type ReactNode } from 'react';
import { useEffect } from 'react';
import type { Timestamp } from '@bufbuild/protobuf/wkt';
import type { Money } from '@cinema-billing/gen/billing/v1/money_pb.ts';
import { mayActAs, type PanelConfig, type Role, type Session } from './auth.ts';
import { formatDate, formatMoney, type DateStyle } from './format.ts';
import { firstLanguage, translator, type Language, type Translate } from './texts.ts';

/** What every page needs: who looks at it, and how words, amounts and dates are said to them. */
export interface Settings {
  readonly config: PanelConfig;
  readonly session: Session | undefined;
  readonly language: Language;
  readonly setLanguage: (language: Language) => void;
  readonly t: Translate;
  readonly money: (amount: Pick<Money, 'currencyCode' | 'amountMinor'> | undefined) => string;
  readonly date: (at: Timestamp | Date | undefined, style?: DateStyle) => string;
  readonly may: (role: Role) => boolean;
}

const SettingsContext = createContext<Settings | undefined>(undefined);

export function useSettings(): Settings {
  return useContext(SettingsContext)!;
}

interface Props {
  readonly config: PanelConfig;
  readonly session: Session | undefined;
  readonly children: ReactNode;
}

export function SettingsProvider({ config, session, children }: Props) {
  const [language, setLanguage] = useState(firstLanguage);
  useEffect(() => {
    localStorage.setItem('billing.language', language);
    document.documentElement.lang = language;
  }, [language]);
  const settings = useMemo<Settings>(
    () => ({
      config,
      session,
      language,
      setLanguage,
      t: translator(language),
      money: (amount) => formatMoney(amount, language),
      date: (at, style = 'instant') => formatDate(at, language, config.timeZone, style),
      may: (role) => session !== undefined && mayActAs(session.role, role),
    }),
    [config, session, language],
  );
  return <SettingsContext value={settings}>{children}</SettingsContext>;
}

import type { ReactNode } from 'react';
import type { Price } from '@cinema-billing/gen/billing/v1/plan_pb.ts';
import type { Subscription } from '@cinema-billing/gen/billing/v1/subscription_pb.ts';
import { PaymentStatus } from '@cinema-billing/gen/billing/v1/payment_pb.ts';
import type { AttemptState } from '@cinema-billing/gen/billing/admin/v1/payment_admin_service_pb.ts';
import { useSettings, type Settings } from '../settings.tsx';
import type { Word } from '../texts.ts';

/** `599 ₽ a month`. */
export function priceText(settings: Settings, price: Price | undefined): string {
  return price === undefined ? '—' : `${settings.money(price.amount)} ${intervalText(settings, price)}`;
}

/** `a month`, `every 3 months`. */
export function intervalText({ t }: Settings, { intervalUnit, intervalCount: n }: Price): string {
  const unit = t(`unit_${intervalUnit}` as Word, { n });
  return n === 1 ? t('per', { unit }) : t('every', { n, unit });
}

export type Tone = 'calm' | 'good' | 'info' | 'warn' | 'bad';

export function Tag({ tone, children }: { readonly tone: Tone; readonly children: ReactNode }) {
  return <span className={`tag ${tone}`}>{children}</span>;
}

const statusTones: readonly Tone[] = ['calm', 'calm', 'calm', 'info', 'good', 'warn', 'calm'];

export function StatusTag({ subscription }: { readonly subscription: Subscription | undefined }) {
  const { t } = useSettings();
  if (subscription === undefined) return null;
  const { status, cancelAtPeriodEnd } = subscription;
  if (cancelAtPeriodEnd && subscription.endedAt === undefined) return <Tag tone="warn">{t('endsWithPeriod')}</Tag>;
  return <Tag tone={statusTones[status] ?? 'calm'}>{t(`status_${status}` as Word)}</Tag>;
}

export function PaymentTag({ status }: { readonly status: PaymentStatus }) {
  const { t } = useSettings();
  const tone = status === PaymentStatus.SUCCEEDED ? 'good' : status === PaymentStatus.PENDING ? 'info' : 'calm';
  return <Tag tone={tone}>{t(`pay_${status}` as Word)}</Tag>;
}

const attemptTones: readonly Tone[] = ['calm', 'calm', 'info', 'info', 'warn', 'bad', 'good', 'bad', 'calm'];

export function AttemptTag({ state }: { readonly state: AttemptState }) {
  const { t } = useSettings();
  return <Tag tone={attemptTones[state] ?? 'calm'}>{t(`try_${state}` as Word)}</Tag>;
}

import type { Timestamp } from '@bufbuild/protobuf/wkt';
import { timestampDate } from '@bufbuild/protobuf/wkt';
import type { Money } from '@cinema-billing/gen/billing/v1/money_pb.ts';
import type { Language } from './texts.ts';

type Amount = Pick<Money, 'currencyCode' | 'amountMinor'>;

/** How many decimals a currency has: 0, 2 or 3, from Intl's table (ISO 4217). */
export function decimalsOf(currencyCode: string): number {
  const format = new Intl.NumberFormat('en', { style: 'currency', currency: currencyCode });
  return format.resolvedOptions().maximumFractionDigits ?? 2;
}

/** `59900n` and 2 decimals: `599.00`. Text all the way, so that no amount is rounded. */
export function decimalText(amountMinor: bigint, decimals: number): string {
  const sign = amountMinor < 0n ? '-' : '';
  const digits = (amountMinor < 0n ? -amountMinor : amountMinor).toString().padStart(decimals + 1, '0');
  const whole = digits.slice(0, digits.length - decimals);
  return decimals === 0 ? sign + whole : `${sign}${whole}.${digits.slice(-decimals)}`;
}

/** `599 ₽`, `1 234,50 ₽`, `¥500`, `KWD 1.234`: as the language writes it; whole amounts without zeros behind them. */
export function formatMoney(money: Amount | undefined, language: Language): string {
  if (money === undefined) return '—';
  const { currencyCode, amountMinor } = money;
  const format = new Intl.NumberFormat(language === 'ru' ? 'ru-RU' : 'en-GB', {
    style: 'currency',
    currency: currencyCode,
    currencyDisplay: 'narrowSymbol',
    trailingZeroDisplay: 'stripIfInteger',
  });
  return format.format(decimalText(amountMinor, decimalsOf(currencyCode)) as Intl.StringNumericLiteral);
}

/** What a person typed, in minor units; undefined for what is no amount of this currency. */
export function parseAmount(text: string, currencyCode: string): bigint | undefined {
  const decimals = decimalsOf(currencyCode);
  const match = /^(\d{1,12})(?:[.,](\d+))?$/.exec(text.replaceAll(/[\s\u00a0\u202f]/g, ''));
  const fraction = match?.[2] ?? '';
  if (match === null || fraction.length > decimals) return undefined;
  return BigInt(match[1]! + fraction.padEnd(decimals, '0'));
}

export type DateStyle = 'day' | 'instant' | 'short';

/** In the billing zone, whatever zone the browser is in. */
export function formatDate(
  at: Timestamp | Date | undefined,
  language: Language,
  timeZone: string,
  style: DateStyle,
): string {
  if (at === undefined) return '—';
  const date = at instanceof Date ? at : timestampDate(at);
  const shape: Record<DateStyle, Intl.DateTimeFormatOptions> = {
    day: { day: 'numeric', month: 'long', year: 'numeric' },
    short: { day: 'numeric', month: 'short' },
    instant: { day: 'numeric', month: 'short', year: 'numeric', hour: '2-digit', minute: '2-digit' },
  };
  return new Intl.DateTimeFormat(language === 'ru' ? 'ru-RU' : 'en-GB', { ...shape[style], timeZone }).format(date);
}

/** The largest unit that fits a span, in seconds. */
const ageUnits: readonly [unit: Intl.RelativeTimeFormatUnit, seconds: number][] = [
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
];

/** How long ago something was, in its largest unit: `3 days ago`; what is younger than a minute is a minute old. */
export function formatAge(at: Timestamp, nowMs: number, language: Language): string {
  const seconds = Math.max((nowMs - timestampDate(at).getTime()) / 1_000, 60);
  const [unit, unitSeconds] = ageUnits.find(([, length]) => seconds >= length)!;
  const format = new Intl.RelativeTimeFormat(language === 'ru' ? 'ru-RU' : 'en-GB');
  return format.format(-Math.floor(seconds / unitSeconds), unit);
}

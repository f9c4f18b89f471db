/** An amount in the currency's minor unit: `{ currencyCode: 'RUB', amountMinor: 59900n }` is 599 roubles. */
export interface Money {
  readonly currencyCode: string;
  readonly amountMinor: bigint;
}

/**
 * Writes an amount for a person: `599.00 RUB`, `500 JPY`, `1.234 KWD`. The number of decimals is the currency's own,
 * from the ICU tables of Intl (ISO 4217).
 */
export function formatMoney({ currencyCode, amountMinor }: Money): string {
  const decimals =
    new Intl.NumberFormat('en', { style: 'currency', currency: currencyCode }).resolvedOptions()
      .maximumFractionDigits ?? 2;
  const sign = amountMinor < 0n ? '-' : '';
  const digits = (amountMinor < 0n ? -amountMinor : amountMinor).toString().padStart(decimals + 1, '0');
  const whole = digits.slice(0, digits.length - decimals);
  const fraction = decimals > 0 ? `.${digits.slice(-decimals)}` : '';
  return `${sign}${whole}${fraction} ${currencyCode}`;
}

import { invalid } from './refusal.ts';
import type { YookassaObject } from './shop.ts';

type Body = Record<string, unknown>;

const documented: Record<string, readonly string[]> = {
  receipt: [
    'customer',
    'items',
    'tax_system_code',
    'phone',
    'email',
    'internet',
    'timezone',
    'receipt_industry_details',
  ],
  item: [
    ...'description amount vat_code quantity measure mark_quantity payment_subject payment_mode country_of_origin_code'.split(
      ' ',
    ),
    ...'customs_declaration_number excise product_code mark_code_info mark_mode supplier additional_payment_subject_props'.split(
      ' ',
    ),
  ],
};
const subjects = 'commodity excise job service payment lottery another intellectual_activity property_right'.split(' ');
const modes = 'full_prepayment partial_prepayment advance full_payment partial_payment credit credit_payment'.split(
  ' ',
);
const vatCodeMax = 12;

/** A shop whose receipts YooKassa issues takes nothing without one, and none over another amount. */
export function checkReceipt(receipt: unknown, amount: unknown, isWanted: boolean): void {
  if (receipt === undefined) {
    if (isWanted) throw invalid('Receipt is missing or illegal', 'receipt');
    return;
  }
  const { customer, items } = known(receipt, documented['receipt']!);
  const { email } = (customer ?? {}) as Body;
  if (typeof email !== 'string' || !/^[^@\s]+@[^@\s]+$/.test(email)) throw invalid('no contact', 'receipt.customer');
  if (!Array.isArray(items) || items.length === 0) throw invalid('no items', 'receipt.items');
  const sum = items.reduce((total: bigint, item: unknown) => total + itemKopecks(item), 0n);
  if (sum !== kopecksOf(amount)) throw invalid('Sum of the receipt differs from the payment', 'receipt.items');
}

/** Of something that is paid for, or given back. */
export function newReceipt(type: 'payment' | 'refund', of: YookassaObject): Omit<YookassaObject, 'id'> {
  return type === 'payment'
    ? { type, status: 'pending', payment_id: of.id }
    : { type, status: 'pending', payment_id: of['payment_id'], refund_id: of.id };
}

function itemKopecks(value: unknown): bigint {
  const item = known(value, documented['item']!);
  const { description, quantity, amount, vat_code: vat, payment_subject: subject, payment_mode: mode } = item;
  const isGood =
    typeof description === 'string' &&
    description.trim() !== '' &&
    description.length <= 128 &&
    typeof quantity === 'number' &&
    Number.isInteger(vat) &&
    Number(vat) >= 1 &&
    Number(vat) <= vatCodeMax &&
    subjects.includes(String(subject)) &&
    modes.includes(String(mode));
  if (!isGood) throw invalid('an item is not right', 'receipt.items');
  return kopecksOf(amount) * BigInt(quantity);
}

function known(value: unknown, names: readonly string[]): Body {
  if (typeof value !== 'object' || value === null) throw invalid('not an object', 'receipt');
  const unknown = Object.keys(value).find((name) => !names.includes(name));
  if (unknown !== undefined) throw invalid(`Unknown parameter ${unknown}`, 'receipt');
  return value as Body;
}

function kopecksOf(amount: unknown): bigint {
  return BigInt(String((amount as { value?: unknown } | undefined)?.value).replace('.', ''));
}

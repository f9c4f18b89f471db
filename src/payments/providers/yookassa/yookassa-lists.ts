import { OutcomeUnknown, type ListedPayment, type PaymentPage } from '../../provider.ts';
import type { YookassaHttp } from './yookassa-http.ts';
import { fieldsOf, moneyOf, refundedOf, type Fields } from './yookassa-payment.ts';

const pageSize = 100;

export interface Page {
  readonly items: readonly Fields[];
  readonly nextCursor: string | undefined;
}

/** One page of a list, newest first. Throws what a provider may throw. */
export async function listPage(
  http: YookassaHttp,
  path: string,
  query: Record<string, string>,
  cursor: string | undefined,
): Promise<Page> {
  const parameters = new URLSearchParams({ limit: String(pageSize), ...query, ...(cursor && { cursor }) });
  const answer = (await http.get(`${path}?${parameters}`)) as Fields | undefined;
  const { items, next_cursor: nextCursor } = answer ?? {};
  if (!Array.isArray(items) || !['string', 'undefined'].includes(typeof nextCursor)) {
    throw new OutcomeUnknown('YooKassa answered without a list');
  }
  return { items: items as Fields[], nextCursor: nextCursor as string | undefined };
}

/** A page of the payments that were begun in a span of time. */
export async function listPayments(
  http: YookassaHttp,
  { from, to, cursor }: { from: Temporal.Instant; to: Temporal.Instant; cursor?: string | undefined },
): Promise<PaymentPage> {
  const query = { 'created_at.gte': from.toString(), 'created_at.lt': to.toString() };
  const page = await listPage(http, '/payments', query, cursor);
  return { payments: page.items.map(lineOf), nextCursor: page.nextCursor };
}

const statuses: Record<string, ListedPayment['status']> = {
  pending: 'waiting',
  succeeded: 'succeeded',
  canceled: 'declined',
};

function lineOf(payment: Fields): ListedPayment {
  try {
    const { id, status, metadata, amount, created_at: createdAt } = payment;
    const known = statuses[String(status)];
    if (typeof id !== 'string' || known === undefined) throw new Error('not a payment');
    return {
      providerPaymentId: id,
      reference: String((metadata === undefined ? {} : fieldsOf(metadata))['reference'] ?? ''),
      status: known,
      amount: moneyOf(amount),
      refundedMinor: refundedOf(payment),
      createdAt: Temporal.Instant.from(String(createdAt)),
    };
  } catch (cause) {
    throw new OutcomeUnknown('YooKassa lists something that is not a payment', { cause });
  }
}

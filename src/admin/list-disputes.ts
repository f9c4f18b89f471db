import { sql, type RawBuilder } from 'kysely';
import { instantFromRow, optionalInstantFromRow } from '../db/instant-type.ts';
import { cutPage, pageSizeOf, readPageToken, type PageRequest } from '../db/page.ts';
import type { EntityManager } from '../db/orm.ts';
import type { CallContext } from '../identity/call-context.ts';
import type { Money } from '../lib/money.ts';
import type { DisputeState } from '../payments/dispute.ts';

export interface DisputeRecord {
  readonly id: string;
  readonly paymentId: string;
  readonly subscriptionId: string;
  readonly userId: string;
  readonly amount: Money;
  readonly state: DisputeState;
  readonly reason: string;
  readonly provider: string;
  readonly providerDisputeId: string;
  readonly openedAt: Temporal.Instant;
  readonly closedAt: Temporal.Instant | null;
}

/** Disputes, newest first (ids are in the order of their making). Throws PAGE_TOKEN_INVALID. */
export async function listDisputes(
  ctx: CallContext,
  input: PageRequest & { state: DisputeState | undefined; userId: string },
): Promise<{ items: DisputeRecord[]; nextPageToken: string }> {
  const { state, userId } = input;
  const list = JSON.stringify(['disputes', state, userId]);
  const cursor = readPageToken(ctx, list, input);
  const items = await readDisputes(
    ctx.em.fork(),
    sql`where true
      ${state === undefined ? sql`` : sql`and d.state = ${state}`}
      ${userId === '' ? sql`` : sql`and p.user_id = ${userId}`}
      ${cursor ? sql`and d.id < ${cursor.id}::uuid` : sql``}
      order by d.id desc limit ${pageSizeOf(input) + 1}`,
  );
  return cutPage(ctx, list, input, items, ({ openedAt, id }) => ({ at: openedAt, id }));
}

/** The disputes of payments, oldest first. */
export async function readDisputesOf(em: EntityManager, paymentIds: readonly string[]): Promise<DisputeRecord[]> {
  return readDisputes(em, sql`where a.payment_id = any(${paymentIds}::uuid[]) order by d.id`);
}

interface Row {
  id: string;
  payment_id: string;
  subscription_id: string;
  user_id: string;
  amount_minor: string;
  currency_code: string;
  state: DisputeState;
  reason: string;
  provider: string;
  provider_dispute_id: string;
  opened_at: string;
  closed_at: string | null;
}

async function readDisputes(em: EntityManager, where: RawBuilder<unknown>): Promise<DisputeRecord[]> {
  const { rows } = await sql<Row>`
    select d.id, a.payment_id, a.subscription_id, p.user_id, d.amount_minor, d.currency_code, d.state, d.reason,
      d.provider, d.provider_dispute_id, d.opened_at, d.closed_at
    from dispute d join payment_attempt a on a.id = d.attempt_id join payment p on p.id = a.payment_id ${where}
  `.execute(em.getKysely());
  return rows.map((row) => ({
    id: row.id,
    paymentId: row.payment_id,
    subscriptionId: row.subscription_id,
    userId: row.user_id,
    amount: { currencyCode: row.currency_code, amountMinor: BigInt(row.amount_minor) },
    state: row.state,
    reason: row.reason,
    provider: row.provider,
    providerDisputeId: row.provider_dispute_id,
    openedAt: instantFromRow(row.opened_at),
    closedAt: optionalInstantFromRow(row.closed_at),
  }));
}

import { sql, type RawBuilder } from 'kysely';
import { instantFromRow, optionalInstantFromRow } from '../db/instant-type.ts';
import type { EntityManager } from '../db/orm.ts';
import { rowTable } from '../db/row-table.ts';
import { isUuid } from '../lib/ids.ts';
import type { Money } from '../lib/money.ts';
import type { AttemptKind, AttemptState, PaymentPurpose, PaymentStatus } from './payment.ts';

/** Real time during which whoever wrote an attempt may be calling the provider; above every provider's call deadline. */
export const attemptLeaseMs = 30_000;

/**
 * When the sweeper looks at an attempt that stays open: after the n-th look, business time. The last one repeats: a
 * charge that has to be sent again meets several looks while its key is safe, however long the provider was away.
 */
const checkDelaysMs = [30_000, 120_000, 600_000, 3_600_000];

/** When to look again at an attempt that has been looked at `checks` times. */
export function nextCheckAfter(checks: number, now: Temporal.Instant): Temporal.Instant {
  return now.add({ milliseconds: checkDelaysMs[Math.min(checks, checkDelaysMs.length - 1)]! });
}

/** An attempt with what the rules need of its payment. */
export interface AttemptRow {
  readonly id: string;
  readonly paymentId: string;
  readonly subscriptionId: string;
  readonly userId: string;
  readonly purpose: PaymentPurpose;
  readonly paymentStatus: PaymentStatus;
  readonly periodStart: Temporal.Instant | null;
  readonly periodEnd: Temporal.Instant | null;
  readonly attemptNumber: number;
  readonly kind: AttemptKind;
  readonly idempotencyKey: string;
  readonly provider: string;
  readonly merchantAccount: string;
  readonly paymentMethodId: string | null;
  /** Of a charge: the subscription is charged with another method, or with none, by now, or nobody waits for it. */
  readonly superseded: boolean;
  readonly providerCustomerId: string | null;
  readonly providerMethodId: string | null;
  readonly amount: Money;
  readonly description: string;
  readonly returnUrl: string;
  readonly state: AttemptState;
  readonly providerPaymentId: string | null;
  readonly checks: number;
  readonly absentSince: Temporal.Instant | null;
  /** Whoever wrote it may be calling the provider at this moment. */
  readonly leased: boolean;
  readonly createdAt: Temporal.Instant;
}

interface Row {
  id: string;
  payment_id: string;
  subscription_id: string;
  user_id: string;
  purpose: PaymentPurpose;
  payment_status: PaymentStatus;
  period_start: string | null;
  period_end: string | null;
  attempt_number: number;
  kind: AttemptKind;
  idempotency_key: string;
  provider: string;
  merchant_account: string;
  payment_method_id: string | null;
  superseded: boolean;
  provider_customer_id: string | null;
  provider_method_id: string | null;
  amount_minor: string;
  currency_code: string;
  description: string;
  return_url: string;
  state: AttemptState;
  provider_payment_id: string | null;
  checks: number;
  absent_since: string | null;
  leased: boolean;
  created_at: string;
}

const attemptColumns = sql`
  a.id, a.payment_id, a.subscription_id, payment.user_id, payment.purpose, payment.status as payment_status,
    payment.period_start, payment.period_end, a.attempt_number, a.kind, a.idempotency_key, a.provider,
    a.merchant_account, a.payment_method_id,
    a.kind = 'charge' and (a.payment_method_id is distinct from s.payment_method_id or payment.status = 'VOID')
      as superseded, method.provider_customer_id, method.provider_method_id, a.amount_minor, a.currency_code,
    a.description, a.return_url, a.state, a.provider_payment_id, a.checks,
    a.absent_since, a.lease_until > clock_timestamp() as leased, a.created_at
`;

/** Reads attempts without a lock. */
export async function findAttempts(em: EntityManager, ids: readonly string[]): Promise<AttemptRow[]> {
  return readAttempts(em, sql`where a.id = any(${ids}::uuid[])`);
}

/** Runs an `insert into payment_attempt` and gives the attempts that it wrote. */
export async function insertAttempts(tx: EntityManager, inserted: RawBuilder<unknown>): Promise<AttemptRow[]> {
  return readAttempts(tx, sql``, { inserted });
}

/** Locks attempts in id order; the caller has locked their subscriptions before (the fixed order of every settle). */
export async function lockAttempts(tx: EntityManager, ids: readonly string[]): Promise<AttemptRow[]> {
  return readAttempts(tx, sql`where a.id = any(${ids}::uuid[]) order by a.id for update of a, payment`);
}

/** The attempt of a payment that is not decided yet, if there is one. */
export async function findOpenAttempt(em: EntityManager, paymentId: string): Promise<AttemptRow | undefined> {
  const rows = await readAttempts(
    em,
    sql`where a.payment_id = ${paymentId} and a.state in ('PENDING', 'SENT', 'WAITING', 'UNKNOWN', 'PARKED')`,
  );
  return rows[0];
}

/** The attempt that a provider's notice is about: by our reference, else by the provider's id. */
export async function findAttemptOfProvider(
  em: EntityManager,
  provider: { name: string; merchantAccount: string },
  query: { reference: string | null; providerPaymentId: string | null },
): Promise<AttemptRow | undefined> {
  const ours = sql`a.provider = ${provider.name} and a.merchant_account = ${provider.merchantAccount}`;
  if (query.reference !== null && isUuid(query.reference)) {
    const [row] = await readAttempts(em, sql`where ${ours} and a.id = ${query.reference}`);
    if (row) return row;
  }
  const [row] = await readAttempts(em, sql`where ${ours} and a.provider_payment_id = ${query.providerPaymentId ?? ''}`);
  return row;
}

/**
 * Marks attempts as given to the provider, immediately before the call: the last look. What is no longer in the state
 * in which it was read (a cancellation voided it, somebody else settled it) is not returned and must not be sent; nor
 * is, first or again, what its subscription no longer waits for, was to end with its period, or has disputed. (What takes no
 * money, a set-up, stands in nobody's way.) In a transaction of its own, which ends before the call.
 */
export async function markSent(
  tx: EntityManager,
  attempts: readonly Pick<AttemptRow, 'id' | 'state'>[],
): Promise<Set<string>> {
  const again = attempts.filter(({ state }) => state !== 'PENDING').map(({ id }) => id);
  // A cancellation voids what is PENDING, which this mark then finds; what may have been sent it leaves as it is, and
  // could be committed between our look at the subscription and the mark.
  if (again.length > 0) {
    await sql`
      select 1 from subscription where id in (select subscription_id from payment_attempt where id = any(${again}::uuid[]))
      order by id for share
    `.execute(tx.getKysely());
  }
  // Asked of c, not of a: open attempts are so few that the planner would read all of them, and all that were, by an index.
  const { rows } = await sql<{ id: string }>`
    update payment_attempt a
    set state = 'SENT', lease_until = clock_timestamp() + make_interval(secs => ${attemptLeaseMs / 1000})
    from ${rowTable('c', attempts, { id: ['uuid', ({ id }) => id], state: ['text', ({ state }) => state] })},
      subscription s
    where a.id = c.id and a.state = c.state and c.state in ('PENDING', 'SENT', 'UNKNOWN')
      and s.id = a.subscription_id
      and (a.amount_minor = 0 or (s.open_payment_id = a.payment_id and not s.cancel_at_period_end
        and not s.renewal_blocked))
    returning a.id
  `.execute(tx.getKysely());
  return new Set(rows.map((row) => row.id));
}

/**
 * Has the sweeper look at once at charges of these subscriptions that wait for the customer: one of a method that is
 * not charged any more is then cancelled at the provider.
 */
export async function hurryWaitingCharges(
  tx: EntityManager,
  subscriptionIds: readonly string[],
  now: Temporal.Instant,
): Promise<void> {
  await sql`
    update payment_attempt set next_check_at = ${now.toString()}
    where subscription_id = any(${subscriptionIds}::uuid[]) and state = 'WAITING' and kind = 'charge'
  `.execute(tx.getKysely());
}

/**
 * Voids charges that are written down and certainly not sent; what is owed stays owed. Gives the ids of the payments
 * that wait for no charge any more.
 */
export async function voidUnsentAttempts(
  tx: EntityManager,
  subscriptionIds: readonly string[],
  now: Temporal.Instant,
): Promise<Set<string>> {
  const { rows } = await sql<{ payment_id: string }>`
    update payment_attempt set state = 'DEAD', settled_at = ${now.toString()}, next_check_at = null
    where subscription_id = any(${subscriptionIds}::uuid[]) and state = 'PENDING'
    returning payment_id
  `.execute(tx.getKysely());
  return new Set(rows.map((row) => row.payment_id));
}

/**
 * Voids what subscriptions still owe, except payments that may have been sent already: those are followed to their end.
 * In the transaction of whatever makes the payments pointless, so that no charge follows a committed cancel. Gives the
 * ids of the payments that are void now.
 */
export async function voidUnsentPayments(
  tx: EntityManager,
  subscriptionIds: readonly string[],
  now: Temporal.Instant,
): Promise<Set<string>> {
  await voidUnsentAttempts(tx, subscriptionIds, now);
  const { rows } = await sql<{ id: string }>`
    update payment p set status = 'VOID', settled_at = ${now.toString()}
    where p.subscription_id = any(${subscriptionIds}::uuid[]) and p.status = 'PENDING' and not exists (
      select 1 from payment_attempt a where a.payment_id = p.id and a.state in ('SENT', 'WAITING', 'UNKNOWN', 'PARKED'))
    returning p.id
  `.execute(tx.getKysely());
  return new Set(rows.map((row) => row.id));
}

/** What a settle writes about an attempt. */
export interface AttemptUpdate {
  readonly id: string;
  readonly state: AttemptState;
  readonly providerPaymentId: string | null;
  readonly declineCode?: string | undefined;
  readonly declineHard?: boolean | undefined;
  readonly surplus?: boolean | undefined;
  /** Where the customer confirms a charge that waits for them. */
  readonly actionUrl?: string | undefined;
  /** Ends with everything that is not one more look-up that did not find it. */
  readonly absentSince?: Temporal.Instant | undefined;
  readonly nextCheckAt: Temporal.Instant | null;
  readonly settledAt: Temporal.Instant | null;
}

/**
 * Writes attempts, set-based; each one's lease ends with it. What waits may have been hurried, because nobody waits for
 * it any more, while the look-up was under way that says so: the sooner look stands.
 */
export async function storeAttempts(tx: EntityManager, updates: readonly AttemptUpdate[]): Promise<void> {
  if (updates.length === 0) return;
  await sql`
    update payment_attempt a set state = u.state, lease_until = clock_timestamp(),
      provider_payment_id = coalesce(u.provider_payment_id, a.provider_payment_id),
      checkout_url = coalesce(u.action_url, a.checkout_url), decline_code = u.decline_code, decline_hard = u.decline_hard, surplus = u.surplus,
      absent_since = u.absent_since, settled_at = u.settled_at,
      next_check_at = case when u.state = 'WAITING' then least(u.next_check_at, a.next_check_at) else u.next_check_at end
    from ${rowTable('u', updates, {
      id: ['uuid', (update) => update.id],
      state: ['text', (update) => update.state],
      provider_payment_id: ['text', (update) => update.providerPaymentId],
      decline_code: ['text', (update) => update.declineCode ?? null],
      decline_hard: ['boolean', (update) => update.declineHard ?? null],
      surplus: ['boolean', (update) => update.surplus ?? false],
      action_url: ['text', (update) => update.actionUrl ?? null],
      absent_since: ['instant', (update) => update.absentSince ?? null],
      next_check_at: ['instant', (update) => update.nextCheckAt],
      settled_at: ['instant', (update) => update.settledAt],
    })}
    where a.id = u.id
  `.execute(tx.getKysely());
}

/** Decides payments: SUCCEEDED with the money, VOID when none will come. */
export async function storePayments(
  tx: EntityManager,
  updates: readonly { id: string; status: Exclude<PaymentStatus, 'PENDING'> }[],
  now: Temporal.Instant,
): Promise<void> {
  if (updates.length === 0) return;
  await sql`
    update payment p set status = u.status, settled_at = ${now.toString()}
    from ${rowTable('u', updates, { id: ['uuid', ({ id }) => id], status: ['text', ({ status }) => status] })}
    where p.id = u.id and p.status = 'PENDING'
  `.execute(tx.getKysely());
}

async function readAttempts(
  em: EntityManager,
  where: RawBuilder<unknown>,
  { inserted }: { inserted?: RawBuilder<unknown> } = {},
): Promise<AttemptRow[]> {
  const { rows } = await sql<Row>`
    ${inserted ? sql`with inserted as (${inserted} returning *)` : sql``}
    select ${attemptColumns} from ${inserted ? sql`inserted` : sql`payment_attempt`} a
      join payment on payment.id = a.payment_id join subscription s on s.id = a.subscription_id
      left join payment_method method on method.id = a.payment_method_id
    ${where}
  `.execute(em.getKysely());
  return rows.map((row) => ({
    id: row.id,
    paymentId: row.payment_id,
    subscriptionId: row.subscription_id,
    userId: row.user_id,
    purpose: row.purpose,
    paymentStatus: row.payment_status,
    periodStart: optionalInstantFromRow(row.period_start),
    periodEnd: optionalInstantFromRow(row.period_end),
    attemptNumber: row.attempt_number,
    kind: row.kind,
    idempotencyKey: row.idempotency_key,
    provider: row.provider,
    merchantAccount: row.merchant_account,
    paymentMethodId: row.payment_method_id,
    superseded: row.superseded,
    providerCustomerId: row.provider_customer_id,
    providerMethodId: row.provider_method_id,
    amount: { currencyCode: row.currency_code, amountMinor: BigInt(row.amount_minor) },
    description: row.description,
    returnUrl: row.return_url,
    state: row.state,
    providerPaymentId: row.provider_payment_id,
    checks: row.checks,
    absentSince: optionalInstantFromRow(row.absent_since),
    leased: row.leased,
    createdAt: instantFromRow(row.created_at),
  }));
}

import { sql } from 'kysely';
import { recordAudit } from '../audit/record-audit.ts';
import { businessNow } from '../db/clock.ts';
import type { EntityManager } from '../db/orm.ts';
import type { CallContext } from '../identity/call-context.ts';
import { onceOrRehearsed } from '../identity/once-or-rehearsed.ts';
import { requestKey } from '../identity/once.ts';
import { BillingError } from '../lib/billing-error.ts';
import { requireCustomer } from './get-customer.ts';

export interface EraseCustomerInput {
  readonly requestId: string;
  readonly userId: string;
  readonly reason: string;
  readonly validateOnly: boolean;
}

/** How much was personal. */
export interface Erasure {
  readonly contacts: number;
  readonly paymentMethods: number;
  readonly receipts: number;
  readonly consents: number;
  readonly notices: number;
}

/**
 * Removes what tells who a viewer is: e-mail, cards, addresses of consents, contacts on receipts, the payment systems'
 * notices, and what the viewer was told. What happened stays, under Auth's user id, so that journal and books agree as before. Saved methods
 * are removed at the payment system, too. Throws CUSTOMER_NOT_FOUND, and CUSTOMER_IN_USE while anything is open.
 */
export async function eraseCustomer(ctx: CallContext, input: EraseCustomerInput): Promise<Erasure> {
  const { requestId, validateOnly, ...asked } = input;
  const key = requestKey(ctx, 'EraseCustomer', requestId, asked);
  const erased = await onceOrRehearsed(ctx, key, validateOnly, async (tx) => {
    const { userId, reason } = input;
    await requireCustomer(tx, userId);
    // Subscribe takes this lock before it writes anything: nothing can open behind the check.
    await sql`select 1 from customer where user_id = ${userId} for update`.execute(tx.getKysely());
    await requireNothingOpen(tx, userId);
    const now = await businessNow(tx);
    const erasure = await erase(tx, userId, now);
    const change = { action: 'EraseCustomer', targetKind: 'customer', targetId: userId, userId, reason } as const;
    await recordAudit(ctx, tx, { ...change, before: undefined, after: erasure }, now);
    return erasure;
  });
  ctx.wake('renewals');
  return erased;
}

interface OpenRow {
  subscriptions: number;
  payments: number;
  refunds: number;
  receipts: number;
  disputes: number;
  notices: number;
}

/** What is under way still needs the card or the contact, and would write either down again. */
async function requireNothingOpen(tx: EntityManager, userId: string): Promise<void> {
  const { rows } = await sql<OpenRow>`
    with attempt as (
      select a.* from subscription s join payment_attempt a on a.subscription_id = s.id where s.user_id = ${userId}
    )
    select (select count(*)::int from subscription where user_id = ${userId} and ended_at is null) as subscriptions,
      (select count(*)::int from attempt where state in ('PENDING', 'SENT', 'WAITING', 'UNKNOWN', 'PARKED')) as payments,
      (select count(*)::int from refund r join attempt a on a.id = r.attempt_id where r.state = 'PENDING') as refunds,
      (select count(*)::int from receipt r join attempt a on a.id = r.attempt_id where r.state = 'PENDING') as receipts,
      (select count(*)::int from dispute d join attempt a on a.id = d.attempt_id where d.state = 'OPEN') as disputes,
      (select count(*)::int from webhook_event e join attempt a
        on a.provider_payment_id = e.provider_payment_id and a.provider = e.provider where e.next_try_at is not null) as notices
  `.execute(tx.getKysely());
  const open = Object.entries(rows[0]!).filter(([, count]) => count > 0);
  if (open.length === 0) return;
  throw new BillingError('wrong-state', 'CUSTOMER_IN_USE', 'something of this customer is still open', {
    metadata: Object.fromEntries(open.map(([what, count]) => [what, String(count)])),
  });
}

async function erase(tx: EntityManager, userId: string, now: Temporal.Instant): Promise<Erasure> {
  const db = tx.getKysely();
  const attempts = sql`
    select a.id from subscription s join payment_attempt a on a.subscription_id = s.id where s.user_id = ${userId}`;
  const count = async (statement: ReturnType<typeof sql>) => Number((await statement.execute(db)).numAffectedRows);
  // The payment system's ids go when it knows that the method is removed (payments/detach-methods.ts).
  const paymentMethods = await count(sql`
    update payment_method set brand = '', last4 = '0000', expiry_month = 1, expiry_year = 2000,
      next_detach_at = case when detached_at is null then ${now.toString()}::timestamptz else next_detach_at end,
      provider_customer_id = case when detached_at is not null and next_detach_at is null
        then '' else provider_customer_id end,
      provider_method_id = case when detached_at is not null and next_detach_at is null
        then id::text else provider_method_id end,
      detached_at = coalesce(detached_at, ${now.toString()}::timestamptz)
    where user_id = ${userId} and brand <> ''`);
  // No index leads to a viewer's notices; hashed like this they are found in one pass over the table.
  const notices = await count(sql`
    update webhook_event set payload = '' where payload <> '' and (
      (provider, provider_payment_id) in (select provider, provider_payment_id from payment_attempt where id in (${attempts}))
      or reference in (select id::text from (${attempts}) a)
      or (provider, provider_dispute_id) in (select provider, provider_dispute_id from dispute
        where attempt_id in (${attempts})))`);
  const receipts = await count(
    sql`update receipt set contact = null where contact is not null and attempt_id in (${attempts})`,
  );
  const consents = await count(
    sql`update payment_consent set ip_address = null where ip_address is not null and attempt_id in (${attempts})`,
  );
  // Where they came back to is the gateway's address, which may name them; a page that is over opens for nobody.
  await sql`update payment_attempt set return_url = '', checkout_url = null where id in (${attempts})`.execute(db);
  // Answers that repeats would get, the viewer's and those of who acted for them, which show the card: nothing is open
  // that a repeat could double.
  await sql`
    delete from idempotent_request where caller = ${`customer:${userId}`} or strpos(response, ${userId}) > 0
      or exists (select from payment_method m where m.user_id = ${userId} and strpos(response, m.id::text) > 0)
  `.execute(db);
  // What was told is over, and a charge that was announced will not come: both show the card. Money that went back is
  // still to be told, and names none.
  await sql`
    delete from customer_notice where user_id = ${userId}
      and (published_at is not null or kind in ('trialEnding', 'renewalUpcoming', 'paymentMethodExpiring'))
  `.execute(db);
  const contacts = await count(sql`delete from customer_contact where user_id = ${userId}`);
  return { contacts, paymentMethods, receipts, consents, notices };
}

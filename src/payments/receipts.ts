import { sql } from 'kysely';
import { businessNow } from '../db/clock.ts';
import { inTransaction, type EntityManager } from '../db/orm.ts';
import { BillingError } from '../lib/billing-error.ts';
import { newId } from '../lib/ids.ts';
import { RequestRefused, type PaymentProvider, type ReceiptData } from './provider.ts';

/** When a receipt is asked for, after the call that it belongs to. */
export const receiptCheckMs = 60_000;

/**
 * Keeps where a viewer's receipts go: what the viewer says counts from now on, what somebody else says (`isGuess`) only
 * where nothing is known.
 */
export async function keepContact(
  tx: EntityManager,
  { userId, email, isGuess = false }: { userId: string; email: string; isGuess?: boolean },
  now: Temporal.Instant,
): Promise<void> {
  await sql`
    insert into customer_contact (user_id, email, updated_at) values (${userId}, ${email}, ${now.toString()})
    on conflict (user_id) do update set email = excluded.email, updated_at = excluded.updated_at where not ${isGuess}
  `.execute(tx.getKysely());
}

/** Where the law wants a receipt, nothing is sold to whom it cannot be sent. Throws CONTACT_REQUIRED. */
export async function requireContact(tx: EntityManager, provider: PaymentProvider, userId: string): Promise<void> {
  if (provider.capabilities.fiscalizes === undefined) return;
  const { rows } = await sql`select 1 from customer_contact where user_id = ${userId}`.execute(tx.getKysely());
  if (rows.length > 0) return;
  throw new BillingError('wrong-state', 'CONTACT_REQUIRED', 'the receipt needs an e-mail address of the viewer');
}

interface Row {
  contact: string | null;
  line_text: string;
  vat_code: number;
  payment_subject: string;
  payment_mode: string;
}

/**
 * What the provider is to write on the receipt of a charge, or of a refund: frozen and committed before the first call,
 * so that a repeat under the same key sends the same. Undefined where the provider issues none. Throws RequestRefused
 * when there is nobody to send it to, for then nothing may be taken.
 */
export async function freezeReceipt(
  em: EntityManager,
  provider: PaymentProvider,
  of: { attemptId: string; refundId?: string },
): Promise<ReceiptData | undefined> {
  const terms = provider.capabilities.fiscalizes;
  if (terms === undefined) return undefined;
  const { attemptId, refundId = null } = of;
  return inTransaction(em, async (tx) => {
    const now = await businessNow(tx);
    const db = tx.getKysely();
    // A refund is of what its charge's receipt says, whatever the terms are by now.
    await sql`
      insert into receipt (id, attempt_id, refund_id, contact, line_text, vat_code, payment_subject, payment_mode, state,
        next_check_at, created_at)
      select ${newId()}, a.id, ${refundId}::uuid, coalesce(contact.email, charge.contact),
        coalesce(charge.line_text, a.description), coalesce(charge.vat_code, ${terms.vatCode}::integer),
        coalesce(charge.payment_subject, ${terms.subject}), coalesce(charge.payment_mode, ${terms.mode}), 'PENDING',
        ${now.add({ milliseconds: receiptCheckMs }).toString()}::timestamptz, ${now.toString()}::timestamptz
      from payment_attempt a join payment p on p.id = a.payment_id
        left join customer_contact contact on contact.user_id = p.user_id
        left join receipt charge on charge.attempt_id = a.id and charge.refund_id is null
      where a.id = ${attemptId} and coalesce(contact.email, charge.contact) is not null
      on conflict do nothing
    `.execute(db);
    const { rows } = await sql<Row>`
      select contact, line_text, vat_code, payment_subject, payment_mode from receipt
      where attempt_id = ${attemptId} and refund_id is not distinct from ${refundId}::uuid
    `.execute(db);
    const row = rows[0];
    if (!row?.contact) throw new RequestRefused('there is no address that the receipt could be sent to');
    return {
      contact: row.contact,
      lineText: row.line_text,
      vatCode: row.vat_code,
      subject: row.payment_subject,
      mode: row.payment_mode,
    };
  });
}

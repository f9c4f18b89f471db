import { sql } from 'kysely';
import { businessNow } from '../db/clock.ts';
import { inTransaction } from '../db/orm.ts';
import { BillingError } from '../lib/billing-error.ts';
import { failPoint } from '../lib/fail-point.ts';
import { WebhookRejected, type ProviderEvent } from './provider.ts';
import { providerNamed, type PaymentsContext } from './providers.ts';

export interface ReceiveWebhookInput {
  provider: string;
  raw: Uint8Array;
  /** Lower-case names. */
  headers: Readonly<Record<string, string | undefined>>;
  /** Of whoever opened the connection. */
  remoteAddress: string;
}

/**
 * Stores a notice once per event id and answers; the work is done afterwards from the row, so that a slow day of ours
 * never looks to the payment system like a lost notice. Throws PROVIDER_NOT_FOUND and WEBHOOK_SIGNATURE_INVALID, and
 * nothing is stored then.
 */
export async function receiveWebhook(ctx: PaymentsContext, input: ReceiveWebhookInput): Promise<void> {
  const provider = providerNamed(ctx, input.provider);
  let event: ProviderEvent;
  try {
    provider.authenticateWebhook(input);
    event = provider.readWebhook(input.raw);
  } catch (cause) {
    if (!(cause instanceof WebhookRejected)) throw cause;
    ctx.log.warn({ provider: provider.name, why: cause.message }, 'webhook rejected');
    throw new BillingError('invalid', 'WEBHOOK_SIGNATURE_INVALID', 'the notice is not authentic', { cause });
  }
  await inTransaction(ctx.em, async (tx) => {
    const now = (await businessNow(tx)).toString();
    const isAboutUs = event.payment !== undefined || event.providerDisputeId !== undefined;
    const state = isAboutUs ? 'RECEIVED' : 'IGNORED';
    await sql`
      insert into webhook_event (provider, provider_event_id, type, payload, provider_payment_id, reference,
        provider_dispute_id, state, next_try_at, received_at)
      values (${provider.name}, ${event.eventId}, ${event.type}, ${Buffer.from(input.raw)},
        ${event.payment?.providerPaymentId ?? null}, ${event.payment?.reference ?? null},
        ${event.providerDisputeId ?? null}, ${state}, ${isAboutUs ? now : null}, ${now})
      on conflict do nothing
    `.execute(tx.getKysely());
    failPoint('webhook.before-commit');
  });
  failPoint('webhook.after-commit');
  ctx.wake('webhooks');
}

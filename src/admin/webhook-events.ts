import { sql } from 'kysely';
import { recordAudit } from '../audit/record-audit.ts';
import { businessNow } from '../db/clock.ts';
import { cutPage, pageSizeOf, readPageToken, type PageRequest } from '../db/page.ts';
import type { EntityManager } from '../db/orm.ts';
import type { CallContext } from '../identity/call-context.ts';
import { onceOrRehearsed } from '../identity/once-or-rehearsed.ts';
import { requestKey } from '../identity/once.ts';
import { BillingError } from '../lib/billing-error.ts';
import { WebhookEvent, type WebhookEventState } from '../payments/webhook-event.ts';

/** A notice without its raw bytes, which may name a person. */
export type WebhookEventView = Omit<
  WebhookEvent,
  'payload' | 'reference' | 'providerDisputeId' | 'nextTryAt' | 'leaseUntil'
>;

const viewFields = [
  'provider',
  'providerEventId',
  'type',
  'providerPaymentId',
  'state',
  'tries',
  'note',
  'receivedAt',
  'processedAt',
] as const;

/** Notices of payment systems, newest first. Throws PAGE_TOKEN_INVALID. */
export async function listWebhookEvents(
  ctx: CallContext,
  input: PageRequest & { state: WebhookEventState | undefined },
): Promise<{ items: WebhookEventView[]; nextPageToken: string }> {
  const { state } = input;
  const list = JSON.stringify(['webhook events', state]);
  const cursor = readPageToken(ctx, list, input);
  const [providerEventId, provider] = cursor ? (JSON.parse(cursor.id) as [string, string]) : ['', ''];
  const rows = await ctx.em.fork().find(
    WebhookEvent,
    {
      ...(state && { state }),
      ...(cursor && {
        $or: [
          { receivedAt: { $lt: cursor.at } },
          { receivedAt: cursor.at, providerEventId: { $lt: providerEventId } },
          { receivedAt: cursor.at, providerEventId, provider: { $lt: provider } },
        ],
      }),
    },
    {
      fields: viewFields,
      orderBy: { receivedAt: 'desc', providerEventId: 'desc', provider: 'desc' },
      limit: pageSizeOf(input) + 1,
    },
  );
  return cutPage(ctx, list, input, rows, (row) => ({
    at: row.receivedAt,
    id: JSON.stringify([row.providerEventId, row.provider]),
  }));
}

/**
 * Has a notice that was set aside worked off again, as if it had just come. Throws WEBHOOK_EVENT_NOT_FOUND,
 * WEBHOOK_EVENT_NOT_SET_ASIDE.
 */
export async function replayWebhookEvent(
  ctx: CallContext,
  input: { requestId: string; reason: string; validateOnly: boolean; provider: string; providerEventId: string },
): Promise<WebhookEventView> {
  const { requestId, validateOnly, ...asked } = input;
  const { provider, providerEventId, reason } = asked;
  const key = requestKey(ctx, 'ReplayWebhookEvent', requestId, asked);
  const event = await onceOrRehearsed(ctx, key, validateOnly, async (tx) => {
    const now = await businessNow(tx);
    const before = await readView(tx, provider, providerEventId);
    const { rows } = await sql`
      update webhook_event set state = 'RECEIVED', next_try_at = ${now.toString()}, processed_at = null, lease_until = null
      where provider = ${provider} and provider_event_id = ${providerEventId} and state in ('QUARANTINED', 'ORPHAN')
      returning 1
    `.execute(tx.getKysely());
    if (rows.length === 0) {
      throw new BillingError('wrong-state', 'WEBHOOK_EVENT_NOT_SET_ASIDE', 'this notice was not set aside');
    }
    const after = await readView(tx, provider, providerEventId);
    const target = { targetKind: 'webhook_event', targetId: providerEventId } as const;
    await recordAudit(ctx, tx, { action: 'ReplayWebhookEvent', ...target, reason, before, after }, now);
    return after;
  });
  if (!validateOnly) ctx.wake('webhooks');
  return event;
}

async function readView(tx: EntityManager, provider: string, providerEventId: string): Promise<WebhookEventView> {
  const row = await tx.findOne(WebhookEvent, { provider, providerEventId }, { refresh: true });
  if (!row) throw new BillingError('not-found', 'WEBHOOK_EVENT_NOT_FOUND', 'no such notice');
  const { type, providerPaymentId, state, tries, note, receivedAt, processedAt } = row;
  return { provider, providerEventId, type, providerPaymentId, state, tries, note, receivedAt, processedAt };
}

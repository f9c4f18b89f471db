import { defineEntity, p } from '@mikro-orm/core';
import { instant } from '../db/instant-type.ts';

export type WebhookEventState = 'RECEIVED' | 'PROCESSED' | 'IGNORED' | 'QUARANTINED' | 'ORPHAN';

export const WebhookEventSchema = defineEntity({
  name: 'WebhookEvent',
  tableName: 'webhook_event',
  properties: {
    provider: p.text().primary(),
    providerEventId: p.text().primary(),
    type: p.text(),
    payload: p.type(Uint8Array).columnType('bytea'),
    providerPaymentId: p.text().strictNullable(),
    reference: p.text().strictNullable(),
    /** Of a notice about a dispute, which is about no payment of its own. */
    providerDisputeId: p.text().strictNullable(),
    state: p.text().$type<WebhookEventState>(),
    tries: p.integer().default(0),
    nextTryAt: instant().strictNullable(),
    /** Until then somebody is working it off; real time. */
    leaseUntil: instant().strictNullable(),
    note: p.text().default(''),
    receivedAt: instant(),
    processedAt: instant().strictNullable(),
  },
});

/** A payment system's notice as it came; a hint which payment to look up. */
export class WebhookEvent extends WebhookEventSchema.class {}
WebhookEventSchema.setClass(WebhookEvent);

import { defineEntity, p } from '@mikro-orm/core';
import { instant } from '../db/instant-type.ts';
import type { Actor } from '../identity/actor.ts';
import type { SubscriptionEventKind } from './lifecycle.ts';
import type { SubscriptionSnapshot } from './subscription-rows.ts';

export const SubscriptionEventSchema = defineEntity({
  name: 'SubscriptionEvent',
  tableName: 'subscription_event',
  properties: {
    id: p.uuid().primary(),
    subscriptionId: p.uuid(),
    userId: p.uuid(),
    kind: p.text().$type<SubscriptionEventKind>(),
    actorKind: p.text().$type<Actor['kind']>(),
    actorId: p.text(),
    reason: p.text(),
    before: p.json<SubscriptionSnapshot>().strictNullable(),
    after: p.json<SubscriptionSnapshot>(),
    occurredAt: instant(),
  },
});

/** One line of a subscription's history. Lines are only ever added: the database refuses the rest. */
export class SubscriptionEvent extends SubscriptionEventSchema.class {}
SubscriptionEventSchema.setClass(SubscriptionEvent);

import { defineEntity, p } from '@mikro-orm/core';
import { instant } from '../db/instant-type.ts';
import type { Grant } from '../outbox/enqueue.ts';

export const EntitlementSchema = defineEntity({
  name: 'Entitlement',
  tableName: 'entitlement',
  properties: {
    userId: p.uuid().primary(),
    /** +1 per change. */
    version: p.bigint(),
    /** The version at which the features last changed, up or down; Auth revokes tokens by it. */
    rightsVersion: p.bigint(),
    grants: p.json<Grant[]>(),
    updatedAt: instant(),
  },
});

/** What a user may use now: one grant per product line, each a lease. Written only by `changeEntitlements`. */
export class Entitlement extends EntitlementSchema.class {}
EntitlementSchema.setClass(Entitlement);

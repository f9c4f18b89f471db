import { create, toBinary } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import {
  EntitlementChangedSchema,
  EntitlementChangeKind,
  GrantSchema,
} from '@cinema-billing/gen/billing/events/v1/entitlement_changed_pb.ts';
import { headers, type MsgHdrs } from '@nats-io/transport-node';
import type { Grant } from './enqueue.ts';
import type { OutboxMessage } from './outbox-rows.ts';

/** The bytes of `billing.events.v1.EntitlementChanged`. */
export function encodeEntitlement(message: OutboxMessage): Uint8Array {
  return toBinary(
    EntitlementChangedSchema,
    create(EntitlementChangedSchema, {
      eventId: message.eventId,
      userId: message.userId,
      version: message.version,
      rightsVersion: message.rightsVersion,
      occurredAt: timestampFromMs(message.occurredAt.epochMilliseconds),
      kind: EntitlementChangeKind[message.kind],
      reason: message.reason,
      traceparent: message.traceparent,
      grants: message.grants.map(encodeGrant),
    }),
  );
}

/** What its message says of an entitlement's change; the message id and the expected sequence come on top. */
export function entitlementHeaders(message: OutboxMessage): MsgHdrs {
  const attributes = cloudEventHeaders({
    id: message.eventId,
    type: EntitlementChangedSchema.typeName,
    subject: message.userId,
    time: message.occurredAt.toString({ fractionalSecondDigits: 3 }),
  });
  if (message.traceparent !== '') attributes.set('ce-traceparent', message.traceparent);
  return attributes;
}

/** CloudEvents 1.0 in binary mode (NATS protocol binding). */
export function cloudEventHeaders(event: { id: string; type: string; subject: string; time: string }): MsgHdrs {
  const attributes = headers();
  attributes.set('Content-Type', 'application/protobuf');
  attributes.set('ce-specversion', '1.0');
  attributes.set('ce-id', event.id);
  attributes.set('ce-source', '/cinema-billing');
  attributes.set('ce-type', event.type);
  attributes.set('ce-subject', event.subject);
  attributes.set('ce-time', event.time);
  return attributes;
}

function encodeGrant(grant: Grant) {
  return create(GrantSchema, {
    productLine: grant.product_line,
    subscriptionId: grant.subscription_id,
    planCode: grant.plan_code,
    features: [...grant.features],
    accessUntil: timestampFromMs(Temporal.Instant.from(grant.access_until).epochMilliseconds),
    inGrace: grant.in_grace,
  });
}

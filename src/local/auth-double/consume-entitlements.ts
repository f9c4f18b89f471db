import { fromBinary } from '@bufbuild/protobuf';
import { timestampDate } from '@bufbuild/protobuf/wkt';
import {
  EntitlementChangedSchema,
  type EntitlementChanged,
} from '@cinema-billing/gen/billing/events/v1/entitlement_changed_pb.ts';
import type { JsMsg } from '@nats-io/jetstream';
import { inStoreTransaction, type AuthStore } from './auth-store.ts';
import type { StoredGrant } from './user-rights.ts';

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const versionMax = BigInt(Number.MAX_SAFE_INTEGER);
const storeRetryDelayMs = 1_000;

/**
 * The whole rule of a consumer of billing's entitlements. Every message carries the full state of one user, so
 * repeats, gaps and any order are harmless:
 *
 * - apply it only if its version is greater than the stored one; anything else is acknowledged and forgotten;
 * - if its rights_version is greater than the stored one, the features changed: revoke every access token the user
 *   holds, in the same transaction, by Auth's own clock;
 * - acknowledge after the commit, never before. The double ack tells that the server has it; when it is lost, the
 *   message comes again and is an old version then;
 * - what can never be read becomes a dead letter, and its delivery ends.
 *
 * Resolves when the message is done with; it never rejects.
 */
export async function consumeEntitlement(store: AuthStore, message: JsMsg, log: (line: string) => void): Promise<void> {
  const name = `message ${message.seq} on ${message.subject}`;
  try {
    const decoded = decode(message);
    if ('problem' in decoded) {
      keepDeadLetter(store, message, decoded.problem);
      message.term();
      log(`dead letter: ${name}: ${decoded.problem}`);
      return;
    }
    applyEntitlement(store, decoded.event, Date.now());
  } catch (error) {
    log(`cannot store ${name}, trying again: ${String(error)}`);
    message.nak(storeRetryDelayMs);
    return;
  }
  await message.ackAck().catch((error: unknown) => log(`${name} will come again: ${String(error)}`));
}

function applyEntitlement(store: AuthStore, event: EntitlementChanged, nowMs: number): void {
  inStoreTransaction(store, () => {
    const stored = store.prepare('select version, rights_version from user_rights where user_id = ?').get(event.userId);
    if (event.version <= Number(stored?.['version'] ?? 0)) return;
    store
      .prepare(
        `insert into user_rights (user_id, version, rights_version, grants) values (?, ?, ?, ?)
         on conflict (user_id) do update
           set version = excluded.version, rights_version = excluded.rights_version, grants = excluded.grants`,
      )
      .run(event.userId, event.version, event.rightsVersion, JSON.stringify(event.grants.map(storedGrant)));
    if (event.rightsVersion <= Number(stored?.['rights_version'] ?? 0)) return;
    store
      .prepare('update access_token set revoked_at = ? where user_id = ? and revoked_at is null')
      .run(nowMs, event.userId);
    store.prepare('update user_rights set tokens_revoked_before = ? where user_id = ?').run(nowMs, event.userId);
  });
}

function decode(message: JsMsg): { event: EntitlementChanged } | { problem: string } {
  let event: EntitlementChanged;
  try {
    event = fromBinary(EntitlementChangedSchema, message.data);
  } catch (error) {
    return { problem: String(error) };
  }
  if (!uuid.test(event.userId)) return { problem: 'user_id is not a UUID' };
  if (!message.subject.endsWith(`.${event.userId}`)) return { problem: 'user_id is not the one of the subject' };
  if (event.version < 1n || event.version > versionMax) return { problem: 'version is out of range' };
  if (event.rightsVersion < 1n || event.rightsVersion > event.version) {
    return { problem: 'rights_version is out of range' };
  }
  if (event.grants.some((grant) => !grant.accessUntil)) return { problem: 'a grant has no access_until' };
  return { event };
}

function storedGrant(grant: EntitlementChanged['grants'][number]): StoredGrant {
  return {
    product_line: grant.productLine,
    subscription_id: grant.subscriptionId,
    plan_code: grant.planCode,
    features: grant.features,
    access_until: timestampDate(grant.accessUntil!).toISOString(),
    in_grace: grant.inGrace,
  };
}

function keepDeadLetter(store: AuthStore, message: JsMsg, problem: string): void {
  store
    .prepare(
      `insert or ignore into dead_letter (stream_sequence, published_at, subject, payload, problem)
       values (?, ?, ?, ?, ?)`,
    )
    .run(message.seq, message.timestamp, message.subject, message.data, problem);
}

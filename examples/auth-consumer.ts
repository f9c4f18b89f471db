// What Auth does with billing's messages, whole: keep each viewer's rights, and revoke tokens when the rights change.
//   node examples/auth-consumer.ts nats://127.0.0.1:4222 rights.db
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as pause } from 'node:timers/promises';
import { fromBinary } from '@bufbuild/protobuf';
import { timestampDate } from '@bufbuild/protobuf/wkt';
import {
  EntitlementChangedSchema,
  type EntitlementChanged,
} from '@cinema-billing/gen/billing/events/v1/entitlement_changed_pb.ts';
import { AckPolicy, DeliverPolicy, jetstreamManager, type JsMsg } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';

const [servers = 'nats://127.0.0.1:4222', file = 'rights.db'] = process.argv.slice(2);
const stream = 'BILLING_ENTITLEMENTS';
const durable = 'auth-example';
const retryMs = 1_000;

const store = new DatabaseSync(file);
store.exec(`create table if not exists rights (
  user_id text primary key, version integer not null, rights_version integer not null,
  grants text not null, tokens_revoked_before text)`);

/** In one transaction, so that rights and revocation are never apart; a message that comes again changes nothing. */
function apply(event: EntitlementChanged): void {
  store.exec('begin immediate');
  try {
    const stored = store.prepare('select version, rights_version from rights where user_id = ?').get(event.userId);
    if (event.version > Number(stored?.['version'] ?? 0)) {
      const grants = event.grants.map(({ productLine, features, accessUntil }) => ({
        productLine,
        features,
        // Past this instant it is no right, whether another message says so or not.
        accessUntil: timestampDate(accessUntil!).toISOString(),
      }));
      store
        .prepare(
          `insert into rights values (?1, ?2, ?3, ?4, null)
           on conflict do update set version = ?2, rights_version = ?3, grants = ?4`,
        )
        .run(event.userId, event.version, event.rightsVersion, JSON.stringify(grants));
      // By our own clock: what was issued until now is void, what is issued from now on carries the new rights.
      if (event.rightsVersion > Number(stored?.['rights_version'] ?? 0)) {
        store
          .prepare('update rights set tokens_revoked_before = ? where user_id = ?')
          .run(new Date().toISOString(), event.userId);
      }
      console.log(
        `${event.userId} version ${event.version}: ${grants.flatMap(({ features }) => features).join(' ') || 'nothing'}`,
      );
    }
    store.exec('commit');
  } catch (error) {
    store.exec('rollback');
    throw error;
  }
}

async function handle(message: JsMsg): Promise<void> {
  let event: EntitlementChanged;
  try {
    event = fromBinary(EntitlementChangedSchema, message.data);
  } catch {
    // Never readable: keep it for a person, and let the others come.
    console.error(`message ${message.seq} cannot be read`);
    return message.term();
  }
  try {
    apply(event);
    // After the commit, never before.
    await message.ackAck();
  } catch (error) {
    console.error(String(error));
    message.nak(retryMs);
  }
}

const nats = await connect({ servers, maxReconnectAttempts: -1 });
for (const end of ['SIGTERM', 'SIGINT']) process.on(end, () => void nats.drain());
while (!nats.isClosed() && !nats.isDraining()) {
  try {
    const manager = await jetstreamManager(nats);
    await manager.consumers.add(stream, {
      durable_name: durable,
      ack_policy: AckPolicy.Explicit,
      deliver_policy: DeliverPolicy.All,
      max_deliver: -1,
    });
    const consumer = await manager.jetstream().consumers.get(stream, durable);
    const messages = await consumer.consume({ abort_on_missing_resource: true });
    console.log('following');
    for await (const message of messages) await handle(message);
  } catch (error) {
    if (!nats.isClosed() && !nats.isDraining()) console.error(`waiting for ${stream}: ${String(error)}`);
  }
  await pause(retryMs);
}
store.close();

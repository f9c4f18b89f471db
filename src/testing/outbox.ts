import { fromBinary } from '@bufbuild/protobuf';
import { EntitlementChangedSchema } from '@cinema-billing/gen/billing/events/v1/entitlement_changed_pb.ts';
import { jetstreamManager, type JetStreamManager, type StoredMsg } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { sql } from 'kysely';
import { pino, type Logger } from 'pino';
import { inTransaction, openDatabase, type MikroORM } from '../db/orm.ts';
import { enqueue, type EntitlementMessage } from '../outbox/enqueue.ts';
import { createRelay, type Relay, type RelayOptions } from '../outbox/relay.ts';
import { createTestDatabase } from './database.ts';
import { startTestNats, type TestNats } from './nats.ts';
import { waitUntil } from './wait-until.ts';

const requestTimeoutMs = 20_000;

/** An outbox with a database and a NATS server of its own. */
export interface OutboxWorld {
  readonly databaseUrl: string;
  readonly orm: MikroORM;
  readonly nats: TestNats;
  readonly manager: JetStreamManager;
  /** What was logged at warn and above. */
  readonly logged: { msg: string; alarm?: string }[];
  readonly log: Logger;
  /** Puts a change of a user into the outbox, as a use case does; `version` 1, 2, 3 … is the caller's to keep. */
  enqueue(userId: string, version: number, more?: Partial<EntitlementMessage>): Promise<void>;
  enqueueAll(changes: readonly EntitlementMessage[]): Promise<void>;
  /** A relay that is started, and stopped at the end. */
  relay(more?: Partial<RelayOptions>): Relay;
  unpublished(): Promise<number>;
  /** Waits until nothing waits to be published. */
  drained(): Promise<void>;
  /** Every message in the stream with its user and version, in stream order. */
  stored(): Promise<{ userId: string; version: number; message: StoredMsg }[]>;
  stop(): Promise<void>;
}

export async function startOutboxWorld(): Promise<OutboxWorld> {
  const database = await createTestDatabase();
  const orm = await openDatabase({ url: database.url, entities: [] });
  const nats = await startTestNats();
  const client = await connect({ servers: nats.url, maxReconnectAttempts: -1, reconnectTimeWait: 50 });
  const manager = await jetstreamManager(client, { checkAPI: false, timeout: requestTimeoutMs });
  const logged: OutboxWorld['logged'] = [];
  const log = pino({ level: 'warn' }, { write: (line) => void logged.push(JSON.parse(line)) });
  const relays: Relay[] = [];

  const world: OutboxWorld = {
    databaseUrl: database.url,
    orm,
    nats,
    manager,
    logged,
    log,
    enqueue: (userId, version, more) => world.enqueueAll([change(userId, version, more)]),
    enqueueAll: (changes) => inTransaction(orm.em, (tx) => enqueue(tx, changes, '')),
    relay: (more) => {
      const relay = createRelay({ databaseUrl: database.url, orm, natsUrl: nats.url, log, ...more });
      relays.push(relay);
      relay.start();
      return relay;
    },
    unpublished: async () => {
      const { rows } = await sql<{ count: number }>`
        select count(*)::int as count from outbox_message where published_at is null
      `.execute(orm.em.fork().getKysely());
      return rows[0]!.count;
    },
    drained: async () => {
      await waitUntil('everything to be published', async () => (await world.unpublished()) === 0, 30_000);
    },
    stored: async () => {
      const { state } = await manager.streams.info('BILLING_ENTITLEMENTS');
      const found: Awaited<ReturnType<OutboxWorld['stored']>> = [];
      for (let seq = state.first_seq; seq > 0 && seq <= state.last_seq; seq++) {
        const message = await manager.streams.getMessage('BILLING_ENTITLEMENTS', { seq });
        if (!message) continue;
        const event = fromBinary(EntitlementChangedSchema, message.data);
        found.push({ userId: event.userId, version: Number(event.version), message });
      }
      return found;
    },
    stop: async () => {
      await Promise.all(relays.map((relay) => relay.stop()));
      await client.close();
      await orm.close(true);
      await nats.remove();
      await database.drop();
    },
  };
  return world;
}

/** A change as entitlements would make it; the lease ends an hour from now. */
export function change(userId: string, version: number, more: Partial<EntitlementMessage> = {}): EntitlementMessage {
  const accessUntil = Temporal.Now.instant().add({ hours: 1 }).toString({ fractionalSecondDigits: 3 });
  return {
    userId,
    version: BigInt(version),
    rightsVersion: 1n,
    kind: version === 1 ? 'GRANTED' : 'EXTENDED',
    reason: 'PAYMENT_SUCCEEDED',
    occurredAt: Temporal.Now.instant(),
    grants: [
      {
        product_line: 'cinema',
        subscription_id: '01990000-0000-7000-8000-000000000001',
        plan_code: `plan-${version}`,
        features: ['video.uhd'],
        access_until: accessUntil,
        in_grace: false,
      },
    ],
    ...more,
  };
}

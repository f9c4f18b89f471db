import { create, toBinary } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { EntitlementChangedSchema, GrantSchema } from '@cinema-billing/gen/billing/events/v1/entitlement_changed_pb.ts';
import { jetstreamManager, type JetStreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { randomUUID } from 'node:crypto';
import type { TestAuthDouble } from './auth-double.ts';
import { waitUntil } from './wait-until.ts';

const stream = 'BILLING_ENTITLEMENTS';
// Short: a request on a connection that just broke is lost without a word.
const requestTimeoutMs = 500;
const hourMs = 3_600_000;

export interface TestChange {
  readonly version: number;
  readonly rightsVersion: number;
  /** One grant per entry: features and how long from now the lease runs (an hour when left out). */
  readonly grants?: readonly { features: string[]; leaseMs?: number }[];
}

/** Billing's side of the stream, for tests of the consumer: publishes whatever it is told. */
export interface TestPublisher {
  readonly nats: NatsConnection;
  readonly manager: JetStreamManager;
  makeStream(): Promise<void>;
  publish(userId: string, ...changes: TestChange[]): Promise<void>;
  publishRaw(subject: string, payload: Uint8Array): Promise<void>;
  /** Publishes a change of a new user and waits until Auth has it: all that was published before is done with. */
  settle(auth: TestAuthDouble): Promise<void>;
}

export async function connectPublisher(natsUrl: string): Promise<TestPublisher> {
  const nats = await connect({ servers: natsUrl, maxReconnectAttempts: -1, reconnectTimeWait: 100 });
  const manager = await jetstreamManager(nats, { checkAPI: false, timeout: requestTimeoutMs });
  const publisher: TestPublisher = {
    nats,
    manager,
    makeStream: async () => {
      const config = { name: stream, subjects: ['billing.entitlements.v1.>'] };
      await waitUntil('the stream to be made', () => manager.streams.add(config).catch(() => undefined));
    },
    publish: async (userId, ...changes) => {
      for (const change of changes) {
        await publisher.publishRaw(`billing.entitlements.v1.${userId}`, encodeChange(userId, change));
      }
    },
    publishRaw: async (subject, payload) => {
      await manager.jetstream().publish(subject, payload, { retries: 20, timeout: requestTimeoutMs });
    },
    settle: async (auth) => {
      const userId = randomUUID();
      await publisher.publish(userId, { version: 1, rightsVersion: 1 });
      await waitUntil('Auth to have read all', async () => (await auth.user(userId)).version === 1);
    },
  };
  return publisher;
}

export function encodeChange(userId: string, change: TestChange): Uint8Array {
  return toBinary(
    EntitlementChangedSchema,
    create(EntitlementChangedSchema, {
      eventId: randomUUID(),
      userId,
      version: BigInt(change.version),
      rightsVersion: BigInt(change.rightsVersion),
      grants: (change.grants ?? []).map(({ features, leaseMs }, index) =>
        create(GrantSchema, {
          productLine: index === 0 ? 'cinema' : `line-${index}`,
          subscriptionId: '01990000-0000-7000-8000-000000000001',
          planCode: 'standard',
          features,
          accessUntil: timestampFromDate(new Date(Date.now() + (leaseMs ?? hourMs))),
        }),
      ),
    }),
  );
}

import { jetstreamManager, type JetStreamManager, type StreamConfig } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import test from 'ava';
import { startTestNats } from '../testing/nats.ts';
import { ensureStream } from './stream.ts';

const nats = await startTestNats();
const client = await connect({ servers: nats.url });
const manager: JetStreamManager = await jetstreamManager(client);
const name = 'BILLING_ENTITLEMENTS';

test.serial.afterEach.always(() => manager.streams.delete(name));
test.after.always(async () => {
  await client.close();
  await nats.remove();
});

test.serial('made by us, it keeps the last 16 messages of each user for ever', async (t) => {
  t.is(await ensureStream(manager), 0);
  const { config } = await manager.streams.info(name);
  t.like(config, {
    subjects: ['billing.entitlements.v1.>'],
    storage: 'file',
    retention: 'limits',
    max_msgs_per_subject: 16,
    max_age: 0,
    max_msgs: -1,
    max_bytes: -1,
    discard: 'new',
    duplicate_window: 120_000_000_000,
    deny_delete: true,
    deny_purge: true,
  });
  const publish = (user: string) => manager.jetstream().publish(`billing.entitlements.v1.${user}`, 'x');
  await publish('quiet');
  for (let count = 0; count < 20; count++) await publish('busy');
  const { state } = await manager.streams.info(name, { subjects_filter: '>' });
  t.deepEqual(state.subjects, { 'billing.entitlements.v1.quiet': 1, 'billing.entitlements.v1.busy': 16 });
  t.is(await ensureStream(manager), 21);
  await t.throwsAsync(manager.streams.deleteMessage(name, 1));
  await t.throwsAsync(manager.streams.purge(name));
});

test.serial("leaves the operator's settings alone", async (t) => {
  await manager.streams.add({
    name,
    subjects: ['billing.entitlements.v1.>'],
    max_msgs_per_subject: 4,
    max_bytes: 1_000_000,
    discard: 'new',
    duplicate_window: 600_000_000_000,
  });
  t.is(await ensureStream(manager), 0);
  t.like((await manager.streams.info(name)).config, { max_msgs_per_subject: 4, max_bytes: 1_000_000 });
});

const misfits: [settings: Partial<StreamConfig>, problem: string][] = [
  [{ subjects: ['billing.entitlements.>'] }, 'its subjects are not billing.entitlements.v1.> alone'],
  [{ storage: 'memory' }, 'it is not stored in files'],
  [{ retention: 'workqueue' }, 'its retention is not by limits: read messages would vanish'],
  [{ max_age: 3_600_000_000_000 }, 'it has a max age: a quiet user would lose their last message'],
  [{ max_msgs: 1_000 }, 'it discards old messages: a quiet user would lose their last one'],
  [
    { max_msgs_per_subject: 16, discard: 'new', discard_new_per_subject: true },
    'it refuses new messages of a user instead of dropping their oldest',
  ],
  [{ no_ack: true }, 'it does not acknowledge'],
];
for (const [settings, problem] of misfits) {
  test.serial(`refuses a stream and says why: ${problem}`, async (t) => {
    await manager.streams.add({ name, subjects: ['billing.entitlements.v1.>'], ...settings });
    const error = await t.throwsAsync(ensureStream(manager));
    t.true(error.message.includes(problem), error.message);
  });
}

import { parseArgs } from 'node:util';
import { pino } from 'pino';
import { openDatabase } from '../db/orm.ts';
import { createRelay } from '../outbox/relay.ts';

/** A relay as a process of its own, for tests that stop and continue it. Every IPC message wakes it and gets its status. */
const { values } = parseArgs({
  options: { database: { type: 'string' }, nats: { type: 'string' }, lock: { type: 'string' } },
});
const orm = await openDatabase({ url: values.database!, entities: [] });
const relay = createRelay({
  databaseUrl: values.database!,
  orm,
  natsUrl: values.nats!,
  log: pino({ level: 'silent' }),
  lock: values.lock === 'none' ? 'none' : 'session',
});
relay.start();
process.on('message', () => {
  relay.wake();
  process.send!(relay.status());
});
process.on('disconnect', async () => {
  await relay.stop();
  await orm.close(true);
});

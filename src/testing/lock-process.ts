import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { pino } from 'pino';
import { lockKeys } from '../db/lock-keys.ts';
import { runUnderSessionLock } from '../db/session-lock.ts';

/** Holds the relay's lock, or stands by, as a process of its own; answers every IPC message with whether it holds it. */
const { values } = parseArgs({ options: { database: { type: 'string' } } });
const log = pino({ level: 'silent' });
const lock = runUnderSessionLock(
  { databaseUrl: values.database!, key: lockKeys.relay, name: 'test', log },
  async (stillHeld, stopping) => {
    while (stillHeld() && !stopping.aborted) await delay(20);
  },
);
process.on('message', () => process.send!({ holds: lock.holds() }));
process.on('disconnect', () => lock.stop());

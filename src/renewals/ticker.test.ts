import test from 'ava';
import { pino } from 'pino';
import { startTicker } from './ticker.ts';

const log = pino({ level: 'silent' });

test('a round that hangs holds the end up no longer than is allowed', async (t) => {
  const begun = Promise.withResolvers<void>();
  const ticker = startTicker(
    'hangs',
    () => {
      begun.resolve();
      return new Promise<number>(() => undefined);
    },
    log,
  );
  ticker.wake();
  await begun.promise;
  t.false(await ticker.stop(50));
});

test('the end waits for the round under way, and no other follows', async (t) => {
  const begun = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<number>();
  let rounds = 0;
  const ticker = startTicker(
    'works',
    () => {
      rounds++;
      begun.resolve();
      return gate.promise;
    },
    log,
  );
  ticker.wake();
  await begun.promise;
  const stopped = ticker.stop(30_000);
  ticker.wake();
  gate.resolve(1);
  t.true(await stopped);
  t.is(rounds, 1);
});

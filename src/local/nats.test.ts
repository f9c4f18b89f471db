import test from 'ava';
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startTestNats } from '../testing/nats.ts';
import { startNats } from './nats.ts';
import { LocalError } from './local-error.ts';

const dir = mkdtempSync(join(tmpdir(), 'nats-test-'));
const env = { ...(process.env as Record<string, string>) };

test.after.always(() => rmSync(dir, { recursive: true, force: true }));

async function withStream<T>(
  url: string,
  work: (client: Awaited<ReturnType<typeof connect>>) => Promise<T>,
): Promise<T> {
  const client = await connect({ servers: url, maxReconnectAttempts: 0 });
  try {
    return await work(client);
  } finally {
    await client.close();
  }
}

const messagesIn = (url: string) =>
  withStream(url, async (client) => (await (await jetstreamManager(client)).streams.info('KEPT')).state.messages);

test('what JetStream has acknowledged is there again at the same address, stopped or killed', async (t) => {
  const nats = await startTestNats();
  await withStream(nats.url, async (client) => {
    await (await jetstreamManager(client)).streams.add({ name: 'KEPT', subjects: ['kept'] });
    await jetstream(client).publish('kept', 'one');
  });
  await nats.stop();
  await t.throwsAsync(connect({ servers: nats.url, maxReconnectAttempts: 0, timeout: 500 }));
  await nats.start();
  t.is(await messagesIn(nats.url), 1);
  await nats.kill();
  await nats.start();
  t.is(await messagesIn(nats.url), 1);
  await nats.remove();
});

test('a server that cannot start says why in one line', async (t) => {
  const folder = join(dir, 'folder');
  const executable = join(dir, 'nats-server');
  writeFileSync(executable, '#!/bin/sh\necho "[1] 2026/01/01 [FTL] Can\'t start JetStream: no space" >&2\nexit 1\n', {
    mode: 0o755,
  });
  const error = await t.throwsAsync(startNats({ executable, folder, logFile: join(dir, 'nats.log'), env }), {
    instanceOf: LocalError,
  });
  t.regex(error?.message ?? '', /^NATS ended at its start: Can't start JetStream: no space \(.*nats\.log\)$/);
});

test('a port that somebody else has is left to them', async (t) => {
  const first = await startTestNats();
  const executable = env['BILLING_TEST_NATS_SERVER'] ?? '/usr/sbin/nats-server';
  const options = { executable, folder: join(dir, 'second'), logFile: join(dir, 'second.log'), env };
  const second = await startNats({ ...options, preferredPort: first.port });
  t.not(second.port, first.port);
  await second.stop();
  await first.remove();
});

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { startGuarded } from '../local/guard.ts';
import { findNatsServer } from '../local/find-nats-server.ts';
import { startNats } from '../local/nats.ts';
import { startPostgres } from '../local/postgres.ts';

/** A parent to be killed: starts one server of each kind in the given folder and prints their process ids. */
const dir = process.argv[2]!;
const env = { ...(process.env as Record<string, string>) };
const logs = join(dir, 'logs');
mkdirSync(logs, { recursive: true });

const postgres = await startPostgres({
  folder: join(dir, 'postgres'),
  logFile: join(logs, 'postgres.log'),
  password: 'test',
  env,
});
const executable =
  env['BILLING_TEST_NATS_SERVER'] ?? (await findNatsServer({ env, cacheDir: join(dir, 'cache'), download: false }));
const nats = await startNats({ executable, folder: join(dir, 'nats'), logFile: join(logs, 'nats.log'), env });
const program = await startGuarded({
  name: 'a program',
  command: process.execPath,
  // Ends with SIGTERM's default; the second does not listen to it.
  args: ['-e', 'setInterval(() => {}, 1000)'],
  env,
});
const stubborn = await startGuarded({
  name: 'a stubborn program',
  command: process.execPath,
  args: ['-e', 'process.on("SIGTERM", () => {}); console.log("deaf"); setInterval(() => {}, 1000)'],
  env,
  stopTimeoutMs: 1_000,
  logFile: join(logs, 'stubborn.log'),
});
const servers = { postgres: postgres.server, nats: nats.server, program, stubborn };
const pids = Object.fromEntries(Object.entries(servers).map(([name, { pid }]) => [name, pid]));
process.stdout.write(`${JSON.stringify(pids)}\n`);

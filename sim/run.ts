import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { migrateDatabase } from '../src/db/migrate.ts';
import { formatMoney } from '../src/lib/money.ts';
import { ensureDatabase, startPostgres } from '../src/local/postgres.ts';
import { untilAskedToStop } from '../src/local/until-asked-to-stop.ts';
import { startTestNats } from '../src/testing/nats.ts';
import { holds } from './checks.ts';
import { simulate, type Simulation } from './simulate.ts';

const help = `npm run sim -- [--users N] [--months N] [--seed N]

Lets N viewers (1000) live for N months (36) through the use cases, and checks what is left behind. The same seed (7)
gives the same hash. Exits with 1 when an invariant does not hold.`;
const usersMax = 10_000;
const monthsMax = 120;
/** Nobody pulls the plug here, and waiting for the disk is most of what a simulated day costs. */
const settings = { fsync: 'off', full_page_writes: 'off' };

/** Servers of its own, which end with it. */
async function run(options: { users: number; months: number; seed: number }): Promise<Simulation> {
  const dir = mkdtempSync(join(tmpdir(), 'billing-sim-'));
  const asked = untilAskedToStop(process.env['npm_lifecycle_event'] !== undefined);
  const env = { ...(process.env as Record<string, string>) };
  const [folder, logFile] = [join(dir, 'postgres'), join(dir, 'postgres.log')];
  const remove = () => rmSync(dir, { recursive: true, force: true });
  try {
    const postgres = await startPostgres({ folder, logFile, password: 'sim', settings, env });
    const nats = await startTestNats();
    const stop = () => Promise.all([postgres.stop(), nats.remove()]);
    void asked.then(async () => {
      await stop();
      remove();
      process.exit(130);
    });
    try {
      await ensureDatabase(postgres, 'sim');
      await migrateDatabase(postgres.url('sim'));
      const progress = (line: string) => void process.stderr.write(`${line}\n`);
      return await simulate({ ...options, databaseUrl: postgres.url('sim'), natsUrl: nats.url, progress });
    } finally {
      await stop();
    }
  } finally {
    remove();
  }
}

function print({ hash, summary, checks }: Simulation, seconds: number): void {
  const { revenueMinor, ...counts } = summary;
  const rows = [
    ...Object.entries(counts).map(([name, count]) => [words(name), count.toLocaleString('en')] as const),
    ['revenue', formatMoney({ currencyCode: 'RUB', amountMinor: revenueMinor })] as const,
  ];
  for (const [name, value] of rows) console.log(`  ${name.padEnd(32)}${value.padStart(18)}`);
  console.log();
  for (const check of checks) {
    const count = `${check.examined.toLocaleString('en')} examined`;
    console.log(`  ${holds(check) ? '✓' : '✗'} ${check.name.padEnd(36)}${count.padStart(20)}`);
    for (const violation of check.violations.slice(0, violationsShown)) console.log(`      ${violation}`);
    const more = check.violations.length - violationsShown;
    if (more > 0) console.log(`      and ${more} more`);
  }
  console.log(`\n  ${hash}  in ${Math.round(seconds)} s`);
}

const violationsShown = 10;

/** `churnedVoluntary` as `churned voluntary`. */
function words(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}

const { values } = parseArgs({
  options: {
    users: { type: 'string', default: '1000' },
    months: { type: 'string', default: '36' },
    seed: { type: 'string', default: '7' },
    help: { type: 'boolean', default: false },
  },
});
const [users, months, seed] = [values.users, values.months, values.seed].map(Number) as [number, number, number];
const isWhole = (value: number, max: number) => Number.isInteger(value) && value >= 1 && value <= max;
if (values.help) console.log(help);
else if (!isWhole(users, usersMax) || !isWhole(months, monthsMax) || !Number.isSafeInteger(seed)) {
  console.error(help);
  process.exitCode = 2;
} else {
  const startedAt = performance.now();
  const simulation = await run({ users, months, seed });
  print(simulation, (performance.now() - startedAt) / 1_000);
  process.exitCode = simulation.checks.every(holds) ? 0 : 1;
}

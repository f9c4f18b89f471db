import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Bench, Figures } from './bench.ts';
import { untilAskedToStop } from '../src/local/until-asked-to-stop.ts';
import { serverSettings, startBenchPostgres } from './postgres-server.ts';
import { profileTop } from './profile-top.ts';
import { renewals } from './renewals.ts';
import { registry } from './registry.ts';
import { rpc } from './rpc.ts';
import { summarize, table, type Report } from './report.ts';
import { verify } from './verify.ts';

const benches: Readonly<Record<string, Bench>> = { registry, renewals, rpc, verify };
const roundsMin = 5;
const roundsMax = 50;
const resultsDir = join(import.meta.dirname, 'results');

const help = `npm run bench -- NAME [--rounds N] [--json] [--save] [--profile]

${Object.entries(benches)
  .map(([name, { title }]) => `  ${name.padEnd(12)}${title}`)
  .join('\n')}

  --rounds N   at least ${roundsMin} (the default)
  --json       one object for machines instead of the table
  --save       also writes bench/results/NAME.json
  --profile    one round only, under the CPU profiler; prints where Node's time went`;

interface Options {
  rounds: number;
  json: boolean;
  save: boolean;
  profile: boolean;
}

/** Measures one bench with servers of its own, which end with it. */
async function measure(name: string, bench: Bench, options: Options): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'billing-bench-'));
  const asked = untilAskedToStop(process.env['npm_lifecycle_event'] !== undefined);
  const progress = (line: string) => void process.stderr.write(`${line}\n`);
  try {
    const postgres = await startBenchPostgres(dir);
    void asked.then(async () => {
      await postgres.stop();
      rmSync(dir, { recursive: true, force: true });
      process.exit(130);
    });
    try {
      const profileDir = options.profile ? join(dir, 'profile') : undefined;
      const databaseUrl = (database: string) => postgres.url(database);
      const prepared = await bench.prepare({ databaseUrl, dir, profileDir, progress });
      const rounds: Figures[] = [];
      try {
        for (let number = 1; number <= (options.profile ? 1 : options.rounds); number++) {
          rounds.push(await prepared.round(number));
          const figures = Object.entries(rounds.at(-1)!).map(([figure, value]) => `${figure} ${value.toPrecision(4)}`);
          progress(`round ${number}: ${figures.join(', ')}`);
        }
      } finally {
        await prepared.stop?.();
      }
      if (profileDir !== undefined) return console.log(profileTop(profileDir));
      const settings = { ...(await serverSettings(postgres.url('postgres'))), ...prepared.settings };
      const machine = `${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}, Node ${process.versions.node}`;
      const report: Report = { bench: name, commit: commit(), machine, settings, ...summarize(bench, rounds) };
      console.log(options.json ? JSON.stringify(report) : table(report));
      if (options.save) save(report);
    } finally {
      await postgres.stop();
    }
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** The commit that was measured; `+` where the sources differ from it. */
function commit(): string {
  try {
    const git = (...args: string[]) => execFileSync('git', args, { cwd: import.meta.dirname, encoding: 'utf8' }).trim();
    return `${git('rev-parse', '--short', 'HEAD')}${git('status', '--porcelain') === '' ? '' : '+'}`;
  } catch {
    return 'unknown';
  }
}

function save(report: Report): void {
  mkdirSync(resultsDir, { recursive: true });
  writeFileSync(join(resultsDir, `${report.bench}.json`), `${JSON.stringify(report, undefined, 2)}\n`);
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: String(roundsMin) },
    json: { type: 'boolean', default: false },
    save: { type: 'boolean', default: false },
    profile: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
const [name = '', ...others] = positionals;
const bench = Object.hasOwn(benches, name) ? benches[name] : undefined;
const rounds = Number(values.rounds);
if (values.help) console.log(help);
else if (!bench || others.length > 0 || !(Number.isInteger(rounds) && rounds >= roundsMin && rounds <= roundsMax)) {
  console.error(help);
  process.exitCode = 2;
} else await measure(name, bench, { ...values, rounds });

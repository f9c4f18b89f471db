import { randomInt } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { paymentProviders } from '../src/config/payment-config.ts';
import { startTestServers } from '../src/testing/servers.ts';
import { cancelRace } from './cancel-race.ts';
import { holds, type Check } from './checks.ts';
import { crashPoints } from './crash-points.ts';
import { lateSuccess } from './late-success.ts';
import { requestId } from './request-id.ts';
import type { Scenario } from './scenario.ts';

const scenarios: Record<string, Scenario> = {
  'crash-points': crashPoints,
  'cancel-race': cancelRace,
  'request-id': requestId,
  'late-success': lateSuccess,
};
const names = Object.keys(scenarios).join(', ');
/** Scenarios that every payment system's double can play. */
const anyProvider: ReadonlySet<string> = new Set(['crash-points']);
const shownMax = 20;
const removeTriesMax = 20;

/** `npm run chaos -- SCENARIO [--provider NAME] [--seed N] [--only TEXT]`. Answers the exit status. */
async function main(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      seed: { type: 'string' },
      only: { type: 'string', default: '' },
      provider: { type: 'string', default: 'sandbox' },
    },
  });
  const [name = ''] = positionals;
  const scenario = Object.hasOwn(scenarios, name) ? scenarios[name] : undefined;
  if (scenario === undefined || positionals.length > 1) return refuse(`the scenario has to be one of ${names}`);
  const seed = values.seed === undefined ? randomInt(2 ** 31) : Number(values.seed);
  if (!Number.isInteger(seed) || seed < 0) return refuse('--seed has to be a whole number');
  const provider = paymentProviders.find((known) => known === values.provider);
  if (provider === undefined) return refuse(`--provider has to be one of ${paymentProviders.join(', ')}`);
  if (provider !== 'sandbox' && !anyProvider.has(name)) return refuse(`${name} is played with the sandbox only`);

  const started = performance.now();
  const elapsed = (): string => `${((performance.now() - started) / 1_000).toFixed(0).padStart(5)} s`;
  const progress = (line: string): void => console.log(`${elapsed()}  ${line}`);
  const more = provider === 'sandbox' ? '' : ` --provider ${provider}`;
  console.log(`chaos ${name}, seed ${seed}; again with: npm run chaos -- ${name} --seed ${seed}${more}`);
  return withServers(async () => report(await scenario({ seed, only: values.only, provider, progress })));
}

/** The servers of the worlds, and a folder for all that is written; whatever ends the run, nothing of it stays. */
async function withServers(work: () => Promise<number>): Promise<number> {
  const dir = mkdtempSync(join(tmpdir(), 'billing-chaos-'));
  const remove = (): void => rmSync(dir, { recursive: true, force: true, maxRetries: removeTriesMax });
  const starting = startTestServers(dir, { ...(process.env as Record<string, string>) });
  const leave = async (): Promise<void> => {
    // The world is in the middle of something: that it loses its servers is no news any more.
    for (const event of ['uncaughtException', 'unhandledRejection'] as const) process.on(event, () => undefined);
    await starting.then((servers) => servers.stop()).catch(() => undefined);
    remove();
    process.exit(130);
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void leave());
  try {
    const servers = await starting;
    try {
      const temporary = join(dir, 'tmp');
      mkdirSync(temporary);
      Object.assign(process.env, servers.env, { TMPDIR: temporary });
      return await work();
    } finally {
      await servers.stop();
    }
  } finally {
    remove();
  }
}

function report(checks: readonly Check[]): number {
  const width = Math.max(...checks.map(({ name }) => name.length));
  console.log();
  for (const check of checks) {
    const { name, examined, broken } = check;
    const verdict = broken.length > 0 ? `${broken.length} broken` : examined === 0 ? 'nothing was examined' : 'holds';
    console.log(
      `${holds(check) ? '✓' : '✗'} ${name.padEnd(width)}  ${String(examined).padStart(7)} examined, ${verdict}`,
    );
    for (const line of broken.slice(0, shownMax)) console.log(`    ${line}`);
    if (broken.length > shownMax) console.log(`    and ${broken.length - shownMax} more`);
  }
  return checks.every(holds) ? 0 : 1;
}

function refuse(problem: string): number {
  console.error(`chaos: ${problem}`);
  return 2;
}

main(process.argv.slice(2)).then(
  (status) => process.exit(status),
  (error: unknown) => {
    console.error(error);
    process.exit(1);
  },
);

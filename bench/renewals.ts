import { join } from 'node:path';
import { migrateDatabase } from '../src/db/migrate.ts';
import type { Bench, BenchEnvironment, Figures } from './bench.ts';
import { cloneDatabase, withClient } from './postgres-server.ts';
import { runSide } from './side-process.ts';
import { countRenewed } from './renewals/count-renewed.ts';
import { preload } from './renewals/preload.ts';

const dueCount = 100_000;
const template = 'renewals_template';

/** What a side's process answers: from its first claim to its last commit. */
export interface SideAnswer {
  readonly elapsedMs: number;
  /** Node's own processor time, user and system. */
  readonly cpuUs: number;
}

export interface SideInput {
  readonly databaseUrl: string;
  readonly dueCount: number;
}

/** The engine that `npm start` runs against the least that any program has to ask of PostgreSQL for the same rows. */
export const renewals: Bench = {
  title: `${dueCount.toLocaleString('en')} due subscriptions: the engine against a floor of plain SQL`,
  units: { engine: 'renewals/s', floor: 'renewals/s', engine_node_us: 'µs/renewal', floor_node_us: 'µs/renewal' },
  ratios: {
    of_floor: { of: ({ engine, floor }) => engine! / floor!, bar: { at_least: 0.85 } },
    node_us_per_renewal: { of: ({ engine_node_us: us }) => us!, bar: { at_most: 60 } },
  },
  async prepare(env) {
    const templateUrl = env.databaseUrl(template);
    await withClient(env.databaseUrl('postgres'), (client) => client.query(`create database ${template}`));
    await migrateDatabase(templateUrl);
    env.progress(`preloading ${dueCount} subscriptions`);
    await preload(templateUrl, dueCount);
    return {
      settings: {
        load: `${dueCount} due, as many older payments, attempts, history and outbox rows; no decline`,
        provider: 'in the process, answers at once, takes a whole batch at a time',
        engine: 'claimDue → sendCharges → settlePayments in the lanes of npm start, production logging to /dev/null',
        floor: 'two phases in batches of 500 on two connections, named prepared statements, no JavaScript per row',
      },
      round: (number) => round(env, number),
    };
  },
};

/** Which side comes first alternates: what the one leaves in the caches helps the other. */
async function round(env: BenchEnvironment, number: number): Promise<Figures> {
  const engine = () => measure(env, 'engine');
  const floor = () => measure(env, 'floor');
  // What is profiled is the engine.
  if (env.profileDir !== undefined) return { engine: (await engine()).perS };
  const [first, second] = number % 2 === 1 ? [engine, floor] : [floor, engine];
  const [one, two] = [await first(), await second()];
  const [ours, theirs] = number % 2 === 1 ? [one, two] : [two, one];
  return { engine: ours.perS, floor: theirs.perS, engine_node_us: ours.nodeUs, floor_node_us: theirs.nodeUs };
}

async function measure(env: BenchEnvironment, side: 'engine' | 'floor'): Promise<{ perS: number; nodeUs: number }> {
  const database = `renewals_${side}`;
  await cloneDatabase(env.databaseUrl('postgres'), template, database);
  const input: SideInput = { databaseUrl: env.databaseUrl(database), dueCount };
  const program = join(import.meta.dirname, `renewals/${side}.ts`);
  const { elapsedMs, cpuUs } = await runSide<SideAnswer>(program, input, { profileDir: env.profileDir });
  const renewed = await countRenewed(input.databaseUrl, dueCount);
  return { perS: (renewed * 1_000) / elapsedMs, nodeUs: cpuUs / renewed };
}

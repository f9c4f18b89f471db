import { resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { ConfigError } from '../config/config.ts';
import { loadLocalConfig, type LocalConfig } from '../config/local-config.ts';
import { openDataFolder, type DataFolder } from './data-folder.ts';
import { liveDemoLives } from './demo-data.ts';
import type { Guarded } from './guard.ts';
import { LocalError } from './local-error.ts';
import { createParts } from './parts.ts';
import { requireFreePort } from './ports.ts';
import type { RunningFile } from './running-file.ts';
import { help, whereEverythingIs } from './start-text.ts';
import { forgetRun, startSystem } from './system.ts';
import { untilAskedToStop } from './until-asked-to-stop.ts';

/** For a step of a start that was interrupted, to end by itself. */
const unfinishedStepMaxMs = 10_000;
const partWidth = 16;

const say = (line: string): void => console.log(line);
const progress = (part: string, line: string): void => say(`  ${part.padEnd(partWidth)}${line}`);

/** `npm start`. Returns when it was asked to stop and all has ended; throws LocalError and ConfigError. */
async function main(): Promise<void> {
  const options = readArguments();
  if (options.help) return say(help);
  const config = loadLocalConfig();
  const folder = openDataFolder(config.dataDir);
  try {
    await requireFreePort(config.httpPort, 'BILLING_PORT');
    await requireFreePort(config.grpcPort, 'BILLING_GRPC_PORT');
    await run(config, folder, options.fresh ?? false);
  } finally {
    folder.release();
  }
}

async function run(config: LocalConfig, folder: DataFolder, isFresh: boolean): Promise<void> {
  const asked = untilAskedToStop(config.startedByNpm);
  const parts = createParts();
  const failed = parts.firstToFail.then(unexpectedEnd);
  failed.catch(() => undefined);
  say(`cinema-billing starts; its data is in ${folder.dir}`);
  const started = startSystem({ config, folder, parts, progress, isFresh });
  started.catch(() => undefined);
  try {
    const running = await Promise.race([started, failed, asked]);
    if (typeof running !== 'string') {
      await Promise.race([addDemoData(running), failed, asked]);
      say(whereEverythingIs(running, folder.dir, folder.dir === resolve('.local')));
    }
    const reason = await Promise.race([asked, failed]);
    say(`\nStopping (${reason}).`);
    await parts.stopAll(({ name }) => progress(name, 'stopped'));
    say('Everything has stopped.');
  } finally {
    await parts.stopAll();
    await Promise.race([started.catch(() => undefined), pause(unfinishedStepMaxMs)]);
    forgetRun(folder);
  }
}

/** Without it everything works too: a problem is told and is no reason to stop. */
async function addDemoData(running: RunningFile): Promise<void> {
  try {
    await liveDemoLives(running);
    progress('demo data', 'three viewers with a history');
  } catch (error) {
    progress('demo data', `is incomplete: ${(error as Error).message.split('\n')[0]}`);
  }
}

async function unexpectedEnd(server: Guarded): Promise<never> {
  const { status } = await server.ended;
  throw new LocalError(`the ${server.name} ended unexpectedly (status ${status}): see ${server.logFile}`);
}

function readArguments(): { fresh?: boolean; help?: boolean } {
  try {
    return parseArgs({ options: { fresh: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } } }).values;
  } catch (error) {
    throw new LocalError(`${(error as Error).message.split('. ')[0]}; see "npm start -- --help"`, { cause: error });
  }
}

main().then(
  () => process.exit(0),
  (error: unknown) => {
    const isExplained = error instanceof LocalError || error instanceof ConfigError;
    console.error(isExplained ? `npm start: ${error.message}` : error);
    process.exit(1);
  },
);

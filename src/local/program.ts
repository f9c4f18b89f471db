import { mkdirSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { startGuarded, type Guarded } from './guard.ts';
import { LocalError } from './local-error.ts';
import { turnLog } from './log-file.ts';

const startTimeoutMs = 30_000;
const pollMs = 20;

export interface ProgramOptions {
  /** As a person knows it: "payment system". */
  name: string;
  /** The path of its main file. */
  entry: string;
  env: Readonly<Record<string, string>>;
  logFile: string;
}

export interface RunningProgram<Listening> {
  readonly server: Guarded;
  /** Where it listens, as it said itself. */
  readonly listening: Listening;
}

/**
 * Starts one of our own programs with this Node and waits for the line {"listening": …} that it prints when it is ready.
 * All that it writes goes to its log. Throws a LocalError that carries the program's own last words.
 */
export async function startProgram<Listening>(options: ProgramOptions): Promise<RunningProgram<Listening>> {
  const { name, entry, env, logFile } = options;
  mkdirSync(dirname(logFile), { recursive: true });
  turnLog(logFile);
  const server = await startGuarded({ name, command: process.execPath, args: [entry], env, logFile });
  const deadline = performance.now() + startTimeoutMs;
  for (;;) {
    const listening = findListening<Listening>(logFile);
    if (listening !== undefined) return { server, listening };
    if (!server.isRunning()) throw new LocalError(`the ${name} ended at its start: ${lastWords(server)} (${logFile})`);
    if (performance.now() > deadline) {
      await server.stop();
      throw new LocalError(`the ${name} was not ready within ${startTimeoutMs / 1_000} s (${logFile})`);
    }
    await pause(pollMs);
  }
}

function findListening<Listening>(logFile: string): Listening | undefined {
  const lines = readFileSync(logFile, 'utf8').split('\n').slice(0, -1);
  const line = lines.find((text) => text.startsWith('{"listening":'));
  return line === undefined ? undefined : (JSON.parse(line) as { listening: Listening }).listening;
}

/** The last message in a log that ends with an error: without its stack, in one line. */
function lastWords(server: Guarded): string {
  const lines = server.lastLines().filter((line) => !/^(\s+at |Node\.js v|[{}]$)/.test(line));
  const start = lines.findLastIndex((line) => /^\S/.test(line));
  return lines
    .slice(start === -1 ? lines.length : start)
    .map((line) => line.trim())
    .join(' ');
}

import { spawn, type StdioOptions } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { createInterface } from 'node:readline';
import { LocalError } from './local-error.ts';
import { lastLines } from './log-file.ts';

const usualStopTimeoutMs = 20_000;
const tailLinesMax = 50;
const guardScript = join(import.meta.dirname, 'guard.sh');

export interface GuardOptions {
  /** As a person knows it: "PostgreSQL". */
  name: string;
  command: string;
  args: readonly string[];
  env: Readonly<Record<string, string>>;
  cwd?: string;
  /** What asks the server to stop; TERM unless told. */
  stopSignal?: 'INT' | 'TERM';
  /** How long it may take to stop before it is killed, also when its parent has gone; 20 s unless told. */
  stopTimeoutMs?: number;
  /** Both outputs are appended here by the server itself: it can go on writing when we are gone. Without it: pipes. */
  logFile?: string;
}

/** How a server ended: its exit status (128 + n for signal n), and whether we had asked for it. */
export interface Ending {
  readonly status: number;
  readonly expected: boolean;
}

/** A server process that does not outlive us. */
export interface Guarded {
  readonly name: string;
  /** Of the server, not of its guard. */
  readonly pid: number;
  readonly logFile: string | undefined;
  /** Never rejects. */
  readonly ended: Promise<Ending>;
  /** Only without a log file. */
  readonly stdout: Readable | null;
  readonly stderr: Readable | null;
  isRunning(): boolean;
  /** The last lines of its log file, oldest first. */
  lastLines(): string[];
  /** Sends a signal to the server alone; one that has ended is left alone. */
  signal(signal: NodeJS.Signals): void;
  /** Asks it to stop, waits, kills it when that takes too long. Safe to call again. */
  stop(): Promise<Ending>;
  /** SIGKILL, at once. */
  kill(): Promise<Ending>;
}

/**
 * Starts a server under a guard: a shell in a session of its own, so that a Ctrl-C in our terminal reaches only us, whose
 * standard input is a pipe from us. When the pipe ends the server is told to stop; when the server ends, so does the
 * guard. Resolves as soon as the process exists; whether it serves is the caller's to find out.
 */
export async function startGuarded(options: GuardOptions): Promise<Guarded> {
  const { name, command, args, stopSignal = 'TERM', stopTimeoutMs = usualStopTimeoutMs } = options;
  const graceS = String(Math.ceil(stopTimeoutMs / 1_000));
  const log = options.logFile === undefined ? undefined : openSync(options.logFile, 'a', 0o600);
  const output = log ?? 'pipe';
  const stdio: StdioOptions = ['pipe', output, output, 'pipe'];
  const guard = spawn('/bin/sh', [guardScript, stopSignal, graceS, command, ...args], {
    env: options.env,
    detached: true,
    stdio,
    ...(options.cwd !== undefined && { cwd: options.cwd }),
  });
  if (log !== undefined) closeSync(log);
  // The pipe breaks when the guard ends first; `ended` tells of it.
  guard.stdin?.on('error', () => undefined);

  let asked = false;
  let running = true;
  const ended = new Promise<Ending>((resolve) => {
    const end = (status: number) => {
      running = false;
      resolve({ status, expected: asked });
    };
    guard.once('exit', (code) => end(code ?? 137));
    guard.once('error', () => end(127));
  });
  const pid = await firstLine(guard.stdio[3] as Readable, ended);
  if (pid === undefined) throw new LocalError(`${name} could not be started: /bin/sh did not run`);

  async function end(tell: () => void): Promise<Ending> {
    asked = true;
    if (!running) return ended;
    const tooLate = setTimeout(() => send(Number(pid), 'SIGKILL'), stopTimeoutMs);
    tell();
    const ending = await ended;
    clearTimeout(tooLate);
    return ending;
  }

  return {
    name,
    pid: Number(pid),
    logFile: options.logFile,
    ended,
    stdout: guard.stdout,
    stderr: guard.stderr,
    isRunning: () => running,
    lastLines: () => (options.logFile === undefined ? [] : lastLines(options.logFile, tailLinesMax)),
    signal: (signal) => void (running && send(Number(pid), signal)),
    stop: () => end(() => guard.stdin?.end()),
    // Only the server: its guard notices it, so that both are gone when this resolves.
    kill: () => end(() => send(Number(pid), 'SIGKILL')),
  };
}

async function firstLine(stream: Readable, ended: Promise<unknown>): Promise<string | undefined> {
  const lines = createInterface(stream);
  const line = (once(lines, 'line') as Promise<[string]>).then(([text]) => text);
  try {
    return await Promise.race([line, ended.then(() => undefined)]);
  } finally {
    lines.close();
    stream.destroy();
  }
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

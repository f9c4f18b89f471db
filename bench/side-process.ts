import { spawn } from 'node:child_process';
import { once } from 'node:events';

const sideMaxMs = 10 * 60_000;

/**
 * Runs one side of a round as a process of its own: `program` gets its input as JSON in its only argument and prints
 * one JSON object. Throws when it fails, or takes more than ten minutes.
 */
export async function runSide<Answer>(
  program: string,
  input: object,
  { profileDir, nodeOptions = [] }: { profileDir?: string | undefined; nodeOptions?: readonly string[] } = {},
): Promise<Answer> {
  const profile = profileDir === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileDir}`];
  const child = spawn(process.execPath, [...nodeOptions, ...profile, program, JSON.stringify(input)], {
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: sideMaxMs,
  });
  let output = '';
  child.stdout.on('data', (chunk) => (output += String(chunk)));
  const [status, signal] = (await once(child, 'close')) as [number | null, string | null];
  if (status !== 0) throw new Error(`${program} ended with ${signal ?? status}`);
  return JSON.parse(output) as Answer;
}

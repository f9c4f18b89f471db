import { setTimeout as pause } from 'node:timers/promises';

const waitMaxMs = 15_000;
const pollMs = 50;

const colour = process.stdout.isTTY
  ? (code: number, text: string) => `\u001b[${code}m${text}\u001b[0m`
  : (_code: number, text: string) => text;

/** A step of the story did not hold. */
export class StepFailed extends Error {}

/** Prints a heading. */
export function chapter(title: string): void {
  console.log(`\n${colour(1, title)}`);
}

/** Prints a step that held, with a fact beside it. */
export function told(step: string, fact = ''): void {
  console.log(`  ${colour(32, '✓')} ${step.padEnd(46)} ${fact}`.trimEnd());
}

/** Prints what Auth has, or another remark. */
export function remark(text: string): void {
  console.log(`    ${colour(2, text)}`);
}

/** Throws StepFailed unless both are the same. */
export function expectEqual(what: string, seen: unknown, expected: unknown): void {
  const [a, b] = [text(seen), text(expected)];
  if (a !== b) throw new StepFailed(`${what}: expected ${b}, saw ${a}`);
}

/** Waits until the condition holds, 15 s at most. Throws StepFailed with what was seen last. */
export async function waitFor<T>(what: string, look: () => Promise<T>, holds: (seen: T) => boolean): Promise<T> {
  const deadline = performance.now() + waitMaxMs;
  for (;;) {
    const seen = await look();
    if (holds(seen)) return seen;
    if (performance.now() > deadline)
      throw new StepFailed(`${what}: not within ${waitMaxMs / 1000} s; last seen: ${text(seen)}`);
    await pause(pollMs);
  }
}

function text(value: unknown): string {
  return (
    JSON.stringify(value, (_key, part: unknown) => (typeof part === 'bigint' ? part.toString() : part)) ?? 'nothing'
  );
}

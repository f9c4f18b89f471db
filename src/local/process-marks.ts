import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';

const predecessorsMaxMs = 30_000;
const pollMs = 50;

/** A process that cannot be mistaken for a later one with the same number. */
interface ProcessMark {
  readonly pid: number;
  /** In the kernel's ticks since the machine's start. */
  readonly startedAt: number;
}

/** Notes the servers that were started, for a later start to know which of them a killed one may have left behind. */
export function writeProcessMarks(file: string, pids: readonly number[]): void {
  const marks = pids.map((pid) => ({ pid, startedAt: startTicks(pid) }));
  writeFileSync(file, `${JSON.stringify(marks)}\n`);
}

export function removeProcessMarks(file: string): void {
  rmSync(file, { force: true });
}

/**
 * Where the marks of an earlier start are still there it was killed, and its servers are stopping by themselves: waits
 * until they are gone, at most 30 s, and removes the marks. Where the system does not tell of processes it waits for none.
 */
export async function waitForPredecessors(file: string, progress: (line: string) => void): Promise<void> {
  const marks = readMarks(file);
  const isRunning = ({ pid, startedAt }: ProcessMark) => startTicks(pid) === startedAt;
  const deadline = performance.now() + predecessorsMaxMs;
  if (marks.some(isRunning)) progress('waits for the servers of an earlier start to end');
  while (marks.some(isRunning) && performance.now() < deadline) await pause(pollMs);
  removeProcessMarks(file);
}

function readMarks(file: string): ProcessMark[] {
  try {
    const marks = JSON.parse(readFileSync(file, 'utf8')) as Partial<ProcessMark>[];
    return marks.filter((mark): mark is ProcessMark => typeof mark.startedAt === 'number');
  } catch {
    return [];
  }
}

/** Undefined where there is no such process, or one that has ended and waits to be noticed. */
function startTicks(pid: number): number | undefined {
  try {
    // The second field is the program's name in brackets and may hold anything.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ');
    return fields[0] === 'Z' ? undefined : Number(fields[19]);
  } catch {
    return undefined;
  }
}

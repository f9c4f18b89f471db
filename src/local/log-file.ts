import { closeSync, existsSync, fstatSync, openSync, readSync, renameSync, type PathLike } from 'node:fs';

const tailBytesMax = 64 * 1024;

/** Makes room for a new log; the one before it is kept beside it as `….previous`. */
export function turnLog(path: string): void {
  if (existsSync(path)) renameSync(path, `${path}.previous`);
}

/** The last lines of a log, oldest first; none where there is no log. Reads at most its last 64 KiB. */
export function lastLines(path: PathLike, linesMax: number): string[] {
  if (!existsSync(path)) return [];
  const file = openSync(path, 'r');
  try {
    const { size } = fstatSync(file);
    const start = Math.max(0, size - tailBytesMax);
    const buffer = Buffer.alloc(size - start);
    readSync(file, buffer, 0, buffer.length, start);
    return buffer
      .toString()
      .split('\n')
      .filter((line) => line.trim() !== '')
      .slice(-linesMax);
  } finally {
    closeSync(file);
  }
}

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants, mkdirSync, mkdtempSync, statfsSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';

const memory = '/dev/shm';
/** Twice what a whole run takes at most. */
const roomMinBytes = 2 ** 30;
/** Reads until its standard input ends, which is when we end it or are gone ourselves, however that happened. */
const keeper = 'while read -r line; do :; done; until rm -rf "$0"; do sleep 1; done';

/** A folder whose files nobody needs after a power failure. */
export interface MemoryFolder {
  /** With all that is in it; it also goes when this process is killed. */
  remove(): Promise<void>;
}

/**
 * Makes a folder at the path: a link into memory, or an ordinary folder where memory has no room. A database is some 600
 * files, and of many small files a disk's file system makes more work than PostgreSQL.
 */
export function makeMemoryFolder(path: string): MemoryFolder {
  if (!hasRoom()) {
    mkdirSync(path);
    return { remove: async () => undefined };
  }
  const folder = mkdtempSync(join(memory, 'billing-test-'));
  symlinkSync(folder, path);
  // A session of its own: a Ctrl-C in our terminal reaches only us.
  const child = spawn('/bin/sh', ['-c', keeper, folder], { detached: true, stdio: ['pipe', 'ignore', 'ignore'] });
  const gone = once(child, 'exit');
  return {
    async remove() {
      child.stdin.end();
      await gone;
    },
  };
}

function hasRoom(): boolean {
  try {
    accessSync(memory, constants.W_OK);
    const { bavail, bsize } = statfsSync(memory);
    return Math.min(bavail * bsize, process.availableMemory()) >= roomMinBytes;
  } catch {
    return false;
  }
}

import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { LocalError } from './local-error.ts';

const marker = 'README.txt';
const lock = 'in-use.lock';
const markerText =
  'The data of cinema-billing\'s "npm start". It may be deleted when nothing runs: the next start makes it anew.\n';
/** What is nobody's data: a program that was fetched once. Tests put it there too, before any start. */
const cache = 'cache';

/** The folder that holds everything of one embedded system; nobody else may start on it until it is released. */
export interface DataFolder {
  readonly dir: string;
  readonly cacheDir: string;
  path(...names: string[]): string;
  /** Deletes all data in it. */
  empty(): void;
  release(): void;
}

/**
 * Makes the folder or takes an earlier one: only one that is empty or carries our mark, so that no other folder is ever
 * written to or emptied. Throws LocalError, also when another start is using it.
 */
export function openDataFolder(dir: string): DataFolder {
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    const names = readdirSync(dir).filter((name) => name !== cache);
    if (names.length > 0 && !names.includes(marker)) {
      throw new LocalError(`${dir} has other files in it: set BILLING_DATA_DIR to a folder that is new or empty`);
    }
    writeFileSync(join(dir, marker), markerText);
  } catch (error) {
    if (error instanceof LocalError) throw error;
    throw new LocalError(`the data folder ${dir} cannot be used: ${(error as Error).message}`, { cause: error });
  }
  const release = takeLock(dir);
  return {
    dir,
    cacheDir: join(dir, cache),
    path: (...names) => join(dir, ...names),
    empty: () => {
      if (!existsSync(join(dir, marker))) throw new LocalError(`${dir} is not a data folder of "npm start"`);
      for (const name of readdirSync(dir)) {
        if (name !== marker && name !== cache && !name.startsWith(lock))
          rmSync(join(dir, name), { recursive: true, force: true });
      }
    },
    release,
  };
}

/**
 * An exclusive transaction of SQLite is a lock of the operating system: it is gone with the process, however that ended,
 * so it needs no guess whether a process id in a file is still the same program.
 */
function takeLock(dir: string): () => void {
  const database = new DatabaseSync(join(dir, lock));
  try {
    database.exec('pragma locking_mode = exclusive; begin exclusive');
  } catch (cause) {
    database.close();
    const { errcode, message } = cause as Error & { errcode?: number };
    const why = errcode === 5 ? 'another "npm start" is running on it' : `it cannot be locked: ${message}`;
    throw new LocalError(`the data folder ${dir} is in use: ${why}`, { cause });
  }
  return () => database.close();
}

import { mkdir, open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import type { LedgerLine } from './ledger-line.ts';

export interface Ledger {
  /** Adds a line; the promise resolves when it is on disk. Lines are on disk in the order of the calls. */
  append(line: LedgerLine): Promise<void>;
  /** Resolves when every line added so far is on disk. */
  settled(): Promise<void>;
  close(): Promise<void>;
}

const newline = 10;
const scanBytes = 64 * 1_024;

/**
 * Opens `ledger.jsonl` in the folder and hands each line to `onLine`, oldest first. A last line without its end was
 * torn by a crash before anybody was answered: it is cut off. Throws when any other line cannot be read.
 * `onFailure` hears that the disk refused a write; nothing can be promised after that.
 */
export async function openLedger(
  dataDir: string,
  onLine: (line: LedgerLine) => void,
  onFailure: (error: unknown) => void,
): Promise<Ledger> {
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const path = join(dataDir, 'ledger.jsonl');
  const file = await open(path, 'a+', 0o600);
  await cutTornLine(file);
  await readLines(path, onLine);
  await syncFolder(dataDir);
  return createGroupCommit(file, onFailure);
}

async function cutTornLine(file: FileHandle): Promise<void> {
  const { size } = await file.stat();
  let end = size;
  const buffer = Buffer.alloc(scanBytes);
  while (end > 0) {
    const start = Math.max(0, end - scanBytes);
    const { bytesRead } = await file.read(buffer, 0, end - start, start);
    const at = buffer.subarray(0, bytesRead).lastIndexOf(newline);
    if (at >= 0) {
      end = start + at + 1;
      break;
    }
    end = start;
  }
  if (end === size) return;
  await file.truncate(end);
  await file.datasync();
}

async function readLines(path: string, onLine: (line: LedgerLine) => void): Promise<void> {
  await using file = await open(path, 'r');
  let number = 0;
  for await (const text of file.readLines()) {
    number += 1;
    let line: LedgerLine;
    try {
      line = JSON.parse(text) as LedgerLine;
    } catch (cause) {
      throw new Error(`line ${number} of ${path} is damaged`, { cause });
    }
    onLine(line);
  }
}

/** A new file is only there after a crash when its folder is on disk too. */
async function syncFolder(path: string): Promise<void> {
  await using folder = await open(path, 'r');
  await folder.sync();
}

/** While one fsync runs, the lines that come in wait and then share the next one. */
function createGroupCommit(file: FileHandle, onFailure: (error: unknown) => void): Ledger {
  let waiting: string[] = [];
  let current: Promise<void> | undefined;
  let next: Promise<void> | undefined;
  let isClosed = false;

  const write = async (): Promise<void> => {
    const text = waiting.join('');
    waiting = [];
    try {
      await file.appendFile(text);
      await file.datasync();
    } catch (error) {
      onFailure(error);
      throw error;
    }
  };

  const enqueue = (): Promise<void> => {
    next ??= (current ?? Promise.resolve()).then(() => {
      current = next;
      next = undefined;
      return write();
    });
    return next;
  };

  const settled = (): Promise<void> => next ?? current ?? Promise.resolve();

  return {
    append(line) {
      if (isClosed) return Promise.reject(new Error('the ledger is closed'));
      waiting.push(`${JSON.stringify(line)}\n`);
      return enqueue();
    },
    settled,
    async close() {
      isClosed = true;
      await settled();
      await file.close();
    },
  };
}

import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** What a double knows, kept between starts where it has a folder; a kill may lose the last moment. */
export interface DoubleState {
  /** A map by name, with what it held at the last end. Its values have to be data. */
  map<T>(name: string): Map<string, T>;
  /** Writes soon; many changes together are one write. */
  changed(): void;
  flush(): void;
}

const writeAfterMs = 100;

export function openState(dataDir: string | undefined): DoubleState {
  const path = dataDir === undefined ? undefined : join(dataDir, 'state.json');
  if (dataDir !== undefined) mkdirSync(dataDir, { recursive: true });
  const kept = path === undefined ? {} : readKept(path);
  const maps = new Map<string, Map<string, unknown>>();
  let waiting: NodeJS.Timeout | undefined;
  function flush(): void {
    clearTimeout(waiting);
    waiting = undefined;
    if (path === undefined) return;
    const state = Object.fromEntries([...maps].map(([name, map]) => [name, [...map]]));
    writeFileSync(`${path}.unfinished`, JSON.stringify(state), { mode: 0o600 });
    renameSync(`${path}.unfinished`, path);
  }
  return {
    map<T>(name: string) {
      const map = new Map((kept[name] ?? []) as [string, T][]);
      maps.set(name, map);
      return map;
    },
    changed: () => void (waiting ??= setTimeout(flush, writeAfterMs)),
    flush,
  };
}

function readKept(path: string): Record<string, [string, unknown][]> {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Record<string, [string, unknown][]>;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {};
    throw error;
  }
}

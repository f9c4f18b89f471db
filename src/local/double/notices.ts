import { setTimeout as delay } from 'node:timers/promises';

export interface Notice {
  readonly raw: Uint8Array;
  readonly headers: Readonly<Record<string, string>>;
}

/** Sends notices to one address, again until they are taken. */
export interface Notices {
  /** `build` is asked for each try: a signature has its time in it. */
  send(build: () => Notice): void;
  undelivered(): number;
  stop(): void;
}

const triesMax = 300;
const firstPauseMs = 50;
const pauseMaxMs = 1_000;
const answerMaxMs = 5_000;

/** Without an address nothing is sent. */
export function createNotices(url: string | undefined): Notices {
  const stopping = new AbortController();
  let undelivered = 0;

  async function deliver(target: string, build: () => Notice): Promise<void> {
    let pauseMs = firstPauseMs;
    for (let tries = 0; tries < triesMax; tries++) {
      if (await isTaken(target, build())) return;
      await delay(pauseMs, undefined, { signal: stopping.signal });
      pauseMs = Math.min(pauseMs * 2, pauseMaxMs);
    }
  }

  return {
    send(build) {
      if (url === undefined) return;
      undelivered += 1;
      deliver(url, build)
        .catch((error: unknown) => {
          if (!stopping.signal.aborted) process.stderr.write(`double: a notice failed: ${String(error)}\n`);
        })
        .finally(() => (undelivered -= 1));
    },
    undelivered: () => undelivered,
    stop: () => stopping.abort(),
  };
}

async function isTaken(url: string, { raw, headers }: Notice): Promise<boolean> {
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: Buffer.from(raw),
      signal: AbortSignal.timeout(answerMaxMs),
    });
    await response.arrayBuffer();
    return response.ok;
  } catch {
    return false;
  }
}

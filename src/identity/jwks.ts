import { createPublicKey, type JsonWebKeyInput, type KeyObject } from 'node:crypto';
import type { Logger } from 'pino';
import { checkKey, type TokenKeys } from './token-keys.ts';

export interface JwksOptions {
  readonly url: string;
  /** How old the keys may become before they are asked for again. */
  readonly reloadEveryMs: number;
  /** Between two reloads that tokens with an unknown `kid` cause, for anybody can make such tokens; 10 s if left out. */
  readonly reloadPauseMs?: number;
  readonly log: Logger;
}

type KeySet = ReadonlyMap<string, KeyObject>;

const reloadPauseMs = 10_000;
const answerTimeoutMs = 3_000;
const answerBytesMax = 64 * 1024;
const keysMax = 16;
const kidLengthMax = 128;

/**
 * The keys that Auth publishes (RFC 7517), by `kid`, loaded again on a timer and when a token names a kid that is not
 * known. A load that fails or brings no usable key changes nothing and is logged as an error. Throws when the first
 * one fails: a service without a key must not start.
 */
export async function openJwks(options: JwksOptions): Promise<TokenKeys> {
  const { url, log } = options;
  let keys: KeySet = await load(url, log).catch((cause: unknown) => {
    throw new Error(`the token keys cannot be loaded from ${url}: ${reasonOf(cause)}`, { cause });
  });
  let generation = 0;
  let mayReloadAtMs = performance.now() + (options.reloadPauseMs ?? reloadPauseMs);
  /** One at a time, shared by all who wait for it. */
  let underWay: Promise<void> | undefined;

  async function reload(): Promise<void> {
    try {
      const loaded = await load(url, log);
      if (isSame(keys, loaded)) return;
      keys = loaded;
      generation += 1;
      log.info({ url, kids: [...loaded.keys()] }, 'token keys changed');
    } catch (error) {
      log.error({ url, why: reasonOf(error) }, 'token keys not loaded; the last good ones stay');
    } finally {
      mayReloadAtMs = performance.now() + (options.reloadPauseMs ?? reloadPauseMs);
      underWay = undefined;
    }
  }

  const timer = setInterval(() => void (underWay ??= reload()), options.reloadEveryMs).unref();
  return {
    get generation() {
      return generation;
    },
    async find(kid) {
      if (typeof kid !== 'string') return undefined;
      if (!keys.has(kid) && (underWay !== undefined || performance.now() >= mayReloadAtMs)) {
        await (underWay ??= reload());
      }
      return keys.get(kid);
    },
    stop: () => clearInterval(timer),
  };
}

async function load(url: string, log: Logger): Promise<KeySet> {
  const answer = await fetch(url, { redirect: 'error', signal: AbortSignal.timeout(answerTimeoutMs) });
  if (answer.status !== 200) throw new Error(`HTTP status ${answer.status}`);
  const set = JSON.parse(await readText(answer)) as { keys?: unknown } | null;
  if (!Array.isArray(set?.keys)) throw new Error('not a key set');
  if (set.keys.length > keysMax) throw new Error(`more than ${keysMax} keys`);
  const keys = new Map<string, KeyObject>();
  for (const jwk of set.keys as unknown[]) {
    try {
      const [kid, key] = readKey(jwk);
      if (keys.has(kid)) throw new Error('its kid is there twice');
      keys.set(kid, key);
    } catch (error) {
      // Sets also hold keys for other purposes.
      log.warn(
        { url, kid: String((jwk as { kid?: unknown } | null)?.kid), why: reasonOf(error) },
        'token key left out',
      );
    }
  }
  if (keys.size === 0) throw new Error('no usable key');
  return keys;
}

async function readText(answer: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of answer.body ?? []) {
    bytes += chunk.length;
    if (bytes > answerBytesMax) throw new Error(`more than ${answerBytesMax / 1024} KiB`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function readKey(jwk: unknown): [kid: string, key: KeyObject] {
  if (typeof jwk !== 'object' || jwk === null) throw new Error('not an object');
  const { kty, kid, use, alg, key_ops: operations, d } = jwk as Record<string, unknown>;
  if (typeof kid !== 'string' || kid === '' || kid.length > kidLengthMax) throw new Error('no usable kid');
  if (kty !== 'RSA') throw new Error('not RSA');
  if (d !== undefined) throw new Error('a private key');
  if (use !== undefined && use !== 'sig') throw new Error('not for signatures');
  if (alg !== undefined && alg !== 'RS256') throw new Error('not for RS256');
  if (operations !== undefined && !(Array.isArray(operations) && operations.includes('verify'))) {
    throw new Error('not for verification');
  }
  return [kid, checkKey(createPublicKey({ key: jwk, format: 'jwk' } as JsonWebKeyInput))];
}

function isSame(before: KeySet, after: KeySet): boolean {
  return before.size === after.size && [...before].every(([kid, key]) => after.get(kid)?.equals(key) ?? false);
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error && error.cause.message ? error.cause.message : error.message;
}

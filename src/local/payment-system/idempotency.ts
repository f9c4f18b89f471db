import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { ApiError } from './api-error.ts';
import { setTimeout } from 'node:timers/promises';
import { never, parseObject, readBody, reset, type Reply } from './http.ts';
import type { KeyUse, LedgerLine } from './ledger-line.ts';
import type { Parameters } from './parameters.ts';
import type { Fault } from './scripts.ts';
import type { System } from './system.ts';

const keyLengthMax = 255;

/** What a call does, and what its caller sees when that is not the answer. */
export interface Decided {
  readonly line: LedgerLine;
  readonly fault?: Fault;
  /** The caller hears of it that much later; real time. */
  readonly delayMs?: number;
}

/** Decides what a call does, without doing it. Throws an ApiError to refuse it. */
export type Decide = (parameters: Parameters, key: KeyUse) => Decided;

export type OncePerKey = (request: IncomingMessage, path: string, decide: Decide) => Promise<Reply>;

/**
 * Runs a call once per `Idempotency-Key`: a repeat answers the same, also after a restart, and also when the answer is
 * that none comes. A key is under way from the moment the call's headers are here. A refused call leaves it free.
 */
export function createOncePerKey({ books, webhooks }: System): OncePerKey {
  const underWay = new Set<string>();

  const run = async (key: string, path: string, text: string, decide: Decide): Promise<Reply> => {
    const parameters = parseObject(text);
    const requestHash = hashOf(path, parameters);
    const used = books.state.keys.get(key);
    if (used === undefined) {
      const { line, fault, delayMs = 0 } = decide(parameters, { key, request_hash: requestHash, answered: true });
      await books.record(line);
      webhooks.deliverDue();
      if (delayMs > 0) await setTimeout(delayMs);
      if (fault !== undefined) return replyOf(fault);
      return line.key!.answered ? { status: 200, body: (line.refund ?? line.payment)! } : never;
    }
    if (used.requestHash !== requestHash) {
      throw new ApiError(400, 'idempotency_key_reused', 'this key was used with other parameters', 'idempotency_error');
    }
    await books.settled();
    if (used.failed) return replyOf('internal_error');
    return used.answered ? { status: 200, body: used.answer! } : never;
  };

  return async (request, path, decide) => {
    const key = readKey(request);
    if (underWay.has(key)) {
      throw keyInUse();
    }
    underWay.add(key);
    try {
      return await run(key, path, await readBody(request), decide);
    } finally {
      underWay.delete(key);
    }
  };
}

function keyInUse(): ApiError {
  return new ApiError(409, 'idempotency_key_in_use', 'a call with this key is under way', 'idempotency_error');
}

function replyOf(fault: Fault): Reply {
  switch (fault) {
    case 'never':
      return never;
    case 'reset':
      return reset;
    case 'internal_error':
      throw new ApiError(500, 'internal_error', 'internal error', 'api_error');
    case 'key_in_use':
      throw keyInUse();
    case 'rate_limited':
      throw new ApiError(429, 'rate_limited', 'too many calls', 'api_error');
  }
}

function readKey(request: IncomingMessage): string {
  const key = request.headers['idempotency-key'];
  if (typeof key !== 'string' || key === '' || key.length > keyLengthMax) {
    const message = `the header Idempotency-Key is missing or longer than ${keyLengthMax} characters`;
    throw new ApiError(400, 'idempotency_key_missing', message, 'idempotency_error');
  }
  return key;
}

/** The order in which a client writes its parameters makes no other request. */
function hashOf(path: string, parameters: Parameters): string {
  const sorted = Object.entries(parameters).sort(([a], [b]) => (a < b ? -1 : 1));
  return createHash('sha256')
    .update(JSON.stringify([path, sorted]))
    .digest('hex');
}

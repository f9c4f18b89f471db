import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { ApiError } from './api-error.ts';
import { never, parseObject, readBody, type Answer } from './http.ts';
import type { KeyUse, LedgerLine } from './ledger-line.ts';
import type { Parameters } from './parameters.ts';
import type { System } from './system.ts';

const keyLengthMax = 255;

/** Decides what a call does, without doing it. Throws an ApiError to refuse it. */
export type Decide = (parameters: Parameters, key: KeyUse) => LedgerLine;

export type OncePerKey = (request: IncomingMessage, path: string, decide: Decide) => Promise<Answer | typeof never>;

/**
 * Runs a call once per `Idempotency-Key`: a repeat answers the same, also after a restart, and also when the answer is
 * that none comes. A key is under way from the moment the call's headers are here. A refused call leaves it free.
 */
export function createOncePerKey({ books, webhooks }: System): OncePerKey {
  const underWay = new Set<string>();

  const run = async (key: string, path: string, text: string, decide: Decide): Promise<Answer | typeof never> => {
    const parameters = parseObject(text);
    const requestHash = hashOf(path, parameters);
    const used = books.state.keys.get(key);
    if (used === undefined) {
      const line = decide(parameters, { key, request_hash: requestHash, answered: true });
      await books.record(line);
      webhooks.deliverDue();
      return line.key!.answered ? { status: 200, body: (line.refund ?? line.payment)! } : never;
    }
    if (used.requestHash !== requestHash) {
      throw new ApiError(400, 'idempotency_key_reused', 'this key was used with other parameters', 'idempotency_error');
    }
    await books.settled();
    return used.answered ? { status: 200, body: used.answer } : never;
  };

  return async (request, path, decide) => {
    const key = readKey(request);
    if (underWay.has(key)) {
      throw new ApiError(409, 'idempotency_key_in_use', 'a call with this key is under way', 'idempotency_error');
    }
    underWay.add(key);
    try {
      return await run(key, path, await readBody(request), decide);
    } finally {
      underWay.delete(key);
    }
  };
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

import { createHash } from 'node:crypto';
import { sql } from 'kysely';
import { inTransaction, type EntityManager } from '../db/orm.ts';
import { BillingError } from '../lib/billing-error.ts';
import { decodeJson, encodeJson } from '../lib/json.ts';
import type { CallContext } from './call-context.ts';

/** How a repeat of the same call is recognised: (caller, method, id), and a hash of what was asked. */
export interface RequestKey {
  readonly caller: string;
  readonly method: string;
  readonly requestId: string;
  readonly hash: string;
}

/** What is known of a request: never seen, answered (the stored answer), or begun and not answered. */
export type RequestState<R> = { seen: false } | { seen: true; answer: R } | { seen: true; answer?: undefined };

const requestLeaseMs = 30_000;

/** Builds the key of a request. `input` is all that the caller asked, without the request id itself. */
export function requestKey(ctx: CallContext, method: string, requestId: string, input: unknown): RequestKey {
  const hash = createHash('sha256').update(encodeJson(input)).digest('hex');
  return { caller: `${ctx.actor.kind}:${ctx.actor.id}`, method, requestId: requestId.toLowerCase(), hash };
}

/**
 * Writes down that the request has begun, in the transaction of its effect. A concurrent repeat waits here for this
 * transaction. Throws REQUEST_ID_REUSED for the same id with another body, and REQUEST_IN_PROGRESS while the first
 * call may still be under way (30 s of real time).
 */
export async function beginRequest<R>(tx: EntityManager, key: RequestKey): Promise<RequestState<R>> {
  const db = tx.getKysely();
  const inserted = await sql`
    insert into idempotent_request (caller, method, request_id, request_hash, lease_until)
    values (${key.caller}, ${key.method}, ${key.requestId}, ${key.hash},
      clock_timestamp() + make_interval(secs => ${requestLeaseMs / 1000}))
    on conflict do nothing returning 1
  `.execute(db);
  if (inserted.rows.length === 1) return { seen: false };
  const { rows } = await sql<{ request_hash: string; response: string | null; leased: boolean }>`
    select request_hash, response, lease_until > clock_timestamp() as leased from idempotent_request
    where caller = ${key.caller} and method = ${key.method} and request_id = ${key.requestId} for update
  `.execute(db);
  const row = rows[0]!;
  if (row.request_hash !== key.hash) throw reused();
  if (row.response !== null) return { seen: true, answer: decodeJson(row.response) as R };
  if (row.leased) {
    throw new BillingError('conflict', 'REQUEST_IN_PROGRESS', 'the first call with this request_id is under way', {
      retryDelayMs: 1_000,
    });
  }
  await sql`
    update idempotent_request set lease_until = clock_timestamp() + make_interval(secs => ${requestLeaseMs / 1000})
    where caller = ${key.caller} and method = ${key.method} and request_id = ${key.requestId}
  `.execute(db);
  return { seen: true };
}

/**
 * The answer that a repeat gets, for whoever would ask somebody else first; undefined where there is none yet. Throws
 * REQUEST_ID_REUSED for the same id with another body.
 */
export async function findAnswer<R>(em: EntityManager, key: RequestKey): Promise<R | undefined> {
  const { rows } = await sql<{ request_hash: string; response: string | null }>`
    select request_hash, response from idempotent_request
    where caller = ${key.caller} and method = ${key.method} and request_id = ${key.requestId}
  `.execute(em.getKysely());
  const row = rows[0];
  if (row && row.request_hash !== key.hash) throw reused();
  return row && row.response !== null ? (decodeJson(row.response) as R) : undefined;
}

/** Stores the answer that every repeat gets, byte for byte. */
export async function answerRequest(tx: EntityManager, key: RequestKey, answer: unknown): Promise<void> {
  await sql`
    update idempotent_request set response = ${encodeJson(answer)}
    where caller = ${key.caller} and method = ${key.method} and request_id = ${key.requestId} and response is null
  `.execute(tx.getKysely());
}

/** Lets a call that failed before it had an effect be repeated at once. */
export async function releaseRequest(ctx: CallContext, key: RequestKey): Promise<void> {
  await inTransaction(ctx.em, (tx) =>
    sql`
      update idempotent_request set lease_until = clock_timestamp()
      where caller = ${key.caller} and method = ${key.method} and request_id = ${key.requestId} and response is null
    `.execute(tx.getKysely()),
  );
}

/** Does the work in one transaction, once per request id; a repeat gets the stored answer. */
export async function once<R>(ctx: CallContext, key: RequestKey, work: (tx: EntityManager) => Promise<R>): Promise<R> {
  return inTransaction(ctx.em, async (tx) => {
    const state = await beginRequest<R>(tx, key);
    if (state.seen && state.answer !== undefined) return state.answer;
    const answer = await work(tx);
    await answerRequest(tx, key, answer);
    return answer;
  });
}

function reused(): BillingError {
  return new BillingError('invalid', 'REQUEST_ID_REUSED', 'this request_id was used for another request');
}

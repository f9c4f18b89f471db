import { create, type Message } from '@bufbuild/protobuf';
import { pathToString } from '@bufbuild/protobuf/reflect';
import type { Validator, Violation } from '@bufbuild/protovalidate';
import type { Logger } from 'pino';
import { anonymous, type Actor } from '../identity/actor.ts';
import { mayCall } from '../identity/authorize.ts';
import { invalidToken, type TokenVerifier } from '../identity/verify-token.ts';
import { BillingError } from '../lib/billing-error.ts';
import { traceparentOf, type Call, type Incoming, type RequestHeaders } from './call.ts';
import { logCall } from './call-log.ts';
import { toCallerError } from './errors.ts';
import { deadlineDefaultMs, deadlineMaxMs } from './limits.ts';
import { createRateLimiter, type RateLimits } from './rate-limit.ts';
import { deadlineExceeded, deadlineTooLong, shuttingDown } from './refusals.ts';
import type { Method } from './router.ts';
import { refuseZeroCharacter } from './zero-character.ts';
import { createRunningCalls, type RunningCalls } from './running-calls.ts';

export interface DispatcherOptions {
  readonly verifier: TokenVerifier;
  readonly validator: Validator;
  readonly log: Logger;
  readonly rateLimits: RateLimits;
  /** Names errors that are not BillingErrors but that a caller should know: a database that is away. */
  readonly describeUnknownError?: ((thrown: unknown) => BillingError | undefined) | undefined;
}

export interface Dispatcher {
  /**
   * Runs one call through the whole pipeline; see the README for its order. Resolves with a message of the method's
   * output, rejects with a BillingError only. The call is logged either way.
   */
  dispatch(method: Method, message: Message, incoming: Incoming): Promise<Message>;
  /** For a call that ends before dispatch: logs it and returns the error that the caller gets. */
  refuse(thrown: unknown, methodName: string, incoming: Incoming): BillingError;
  /**
   * Refuses new calls from now on and waits until the running ones are done, also those for whose answer nobody waits
   * any more. False when some still ran after `timeoutMs`.
   */
  drain(timeoutMs: number): Promise<boolean>;
}

const bearerForm = /^bearer +([^ ,]+)$/i;

/** Builds the one pipeline that all ways in share. */
export function createDispatcher(options: DispatcherOptions): Dispatcher {
  const { verifier, validator, log } = options;
  const running = createRunningCalls();
  const limiter = createRateLimiter(options.rateLimits);

  async function dispatch(method: Method, message: Message, incoming: Incoming): Promise<Message> {
    const startedAtMs = performance.now();
    let actor: Actor = anonymous;
    try {
      const nowMs = Date.now();
      const deadlineMs = incoming.deadlineMs ?? nowMs + deadlineDefaultMs;
      if (deadlineMs > nowMs + deadlineMaxMs) throw deadlineTooLong();
      if (deadlineMs <= nowMs) throw deadlineExceeded();

      // A public RPC does not look at the token: a stale one in a browser must not hide the price list.
      if (!method.access.public) {
        const token = bearerToken(incoming.headers);
        const caller = token === undefined ? undefined : await verifier.verify(token);
        actor = caller ?? anonymous;
        mayCall(caller, method.access);
      }
      // Only callers who were found to be who they say: nobody can spend another one's calls.
      limiter.count(actor, incoming.remoteAddress);

      const validation = validator.validate(method.desc.input, message);
      if (validation.kind !== 'valid') throw validationError(validation.violations, validation.error);
      refuseZeroCharacter(message);

      // Right before the method begins, with no await between: a drain that saw nothing running must stay right.
      if (running.draining) throw shuttingDown();
      const call = newCall(method, actor, incoming, deadlineMs, log);
      const answer = create(method.desc.output, await answerInTime(method, call, message, running));
      const durationMs = performance.now() - startedAtMs;
      logCall(log, { method: method.name, actor, incoming, durationMs, error: undefined });
      return answer;
    } catch (thrown) {
      const error = toCallerError(thrown, options.describeUnknownError);
      logCall(log, { method: method.name, actor, incoming, durationMs: performance.now() - startedAtMs, error });
      throw error;
    }
  }

  return {
    dispatch,
    refuse(thrown, methodName, incoming) {
      const error = toCallerError(thrown, options.describeUnknownError);
      logCall(log, { method: methodName, actor: anonymous, incoming, durationMs: 0, error });
      return error;
    },
    drain: (timeoutMs) => running.drain(timeoutMs),
  };
}

/**
 * The method's answer, or DEADLINE_EXCEEDED when it takes longer. The deadline ends the waiting only: a charge that was
 * stopped half-way would have an unknown outcome.
 */
function answerInTime(
  method: Method,
  call: Call,
  message: Message,
  running: RunningCalls,
): ReturnType<Method['handle']> {
  const work = method.handle(call, message);
  running.begin();
  const { promise, resolve, reject } = Promise.withResolvers<Awaited<typeof work>>();
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    reject(deadlineExceeded());
  }, call.deadlineMs - Date.now());
  async function settle(): Promise<void> {
    try {
      resolve(await work);
    } catch (thrown) {
      if (late) call.log.warn({ err: thrown, method: method.name }, 'failed after its deadline');
      reject(thrown);
    } finally {
      clearTimeout(timer);
      running.end();
    }
  }
  void settle();
  return promise;
}

/** Undefined without an Authorization header. Throws TOKEN_INVALID for two headers or another scheme than Bearer. */
function bearerToken(headers: RequestHeaders): string | undefined {
  const header = headers['authorization'];
  if (header === undefined) return undefined;
  const token = bearerForm.exec(header)?.[1];
  if (token === undefined) throw invalidToken(new Error('not exactly one bearer token'));
  return token;
}

function newCall(method: Method, actor: Actor, incoming: Incoming, deadlineMs: number, log: Logger): Call {
  let ownLog: Logger | undefined;
  return {
    method: method.name,
    actor,
    requestHeaders: incoming.headers,
    deadlineMs,
    remoteAddress: incoming.remoteAddress,
    traceparent: traceparentOf(incoming.headers),
    // Made on first use: most calls write nothing but their own line.
    get log() {
      return (ownLog ??= log.child({ callId: incoming.callId }));
    },
  };
}

/** Rules that cannot be evaluated are a bug of ours, not the caller's. */
function validationError(violations: Violation[] | undefined, cause: Error): Error {
  if (violations === undefined) return cause;
  return new BillingError('invalid', 'INVALID_FIELDS', 'fields of the request are not valid', {
    fieldViolations: violations.map(({ field, message }) => ({ field: pathToString(field), description: message })),
  });
}

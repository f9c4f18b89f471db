import type { Logger } from 'pino';
import type { Actor } from '../identity/actor.ts';
import { newId } from '../lib/ids.ts';

/** Names are in lower case; a header that came twice has both values, joined by a comma. */
export type RequestHeaders = Readonly<Record<string, string | undefined>>;

export type Entrance = 'grpc' | 'connect' | 'grpc-web' | 'rest';

/** A call as an entrance hands it to dispatch: the same shape whatever way it came in. */
export interface Incoming {
  readonly entrance: Entrance;
  /** Names this call in our log and in the caller's: their `x-request-id`, or a new id. */
  readonly callId: string;
  readonly headers: RequestHeaders;
  /** When the caller stops waiting: milliseconds since the epoch; undefined when they did not say. */
  readonly deadlineMs: number | undefined;
  readonly remoteAddress: string;
}

/** What a service's method gets beside its request. */
export interface Call {
  /** `billing.v1.PlanService/ListPlans` */
  readonly method: string;
  readonly actor: Actor;
  readonly requestHeaders: RequestHeaders;
  /** When waiting for the answer ends: milliseconds since the epoch. What is under way then is not stopped. */
  readonly deadlineMs: number;
  readonly remoteAddress: string;
  /** W3C trace context; empty when the caller sent none. */
  readonly traceparent: string;
  /** Writes the call's id with every line. */
  readonly log: Logger;
}

const callIdForm = /^[\w.-]{1,64}$/;
const traceparentForm = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;

/** The caller's `x-request-id` where it is harmless in a log line, otherwise a new id. */
export function callIdOf(headers: RequestHeaders): string {
  const sent = headers['x-request-id'];
  return sent !== undefined && callIdForm.test(sent) ? sent : newId();
}

/** The caller's W3C trace context, or empty. */
export function traceparentOf(headers: RequestHeaders): string {
  const sent = headers['traceparent'];
  return sent !== undefined && traceparentForm.test(sent) ? sent : '';
}

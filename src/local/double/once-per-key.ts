import { setTimeout as delay } from 'node:timers/promises';
import type { Step } from './scripts.ts';

export interface Answered {
  readonly status: number;
  readonly body: string;
}

/** The connection is held open and never answered. */
export const never = Symbol('never');
export type Reply = Answered | typeof never;

export interface KeyedCall {
  readonly key: string;
  /** What has to be the same under one key. */
  readonly request: string;
  /** How the call goes; asked for a key that is new only. */
  step(): Step;
  work(step: Step): Promise<Answered>;
}

/** How a payment system treats repeats. */
export interface KeyRules {
  /** Another request under a known key. */
  readonly mismatch: Answered;
  /** A repeat while the first call is under way; undefined to let it wait for the answer. */
  readonly inUse: Answered | undefined;
  /** Its own answer for an error inside. */
  readonly internalError: Answered;
  /** Answers with these statuses are kept, others leave the key free. */
  readonly keptStatuses: readonly number[];
}

/** What became of a key; without an answer where none ever comes. */
export interface KeptKey {
  readonly request: string;
  readonly answer: Answered | null;
}

/** What came of the first call under a key is the answer to every later one. */
export function createOncePerKey(rules: KeyRules, kept: Map<string, KeptKey>): (call: KeyedCall) => Promise<Reply> {
  const underWay = new Map<string, { request: string; reply: Promise<Reply> }>();
  return async ({ key, request, step, work }) => {
    const before = kept.get(key);
    const running = underWay.get(key);
    if ((before ?? running ?? { request }).request !== request) return rules.mismatch;
    if (before !== undefined) return before.answer ?? never;
    if (running !== undefined) return rules.inUse ?? running.reply;
    const play = step();
    if (play.outcome === 'nothing_unanswered') return never;
    const reply = answerOf(play, rules, work);
    underWay.set(key, { request, reply });
    const came = await reply.finally(() => underWay.delete(key));
    if (came === never || rules.keptStatuses.includes(came.status)) {
      kept.set(key, { request, answer: came === never ? null : came });
    }
    await delay(play.delay_ms);
    return came;
  };
}

async function answerOf(play: Step, rules: KeyRules, work: KeyedCall['work']): Promise<Reply> {
  if (play.outcome === 'stored_500') return rules.internalError;
  const answered = await work(play);
  return play.outcome === 'charged_unanswered' ? never : answered;
}

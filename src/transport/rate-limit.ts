import type { Actor } from '../identity/actor.ts';
import { BillingError } from '../lib/billing-error.ts';

/** Calls per second and caller, on average; 0 for no limit. Each replica counts for itself. */
export interface RateLimits {
  readonly viewerPerS: number;
  readonly operatorPerS: number;
  /** Of one service, for all the viewers that it speaks for. */
  readonly servicePerS: number;
  /** Of one network address, for calls of public RPCs, which name no caller. */
  readonly addressPerS: number;
}

export interface RateLimiter {
  /** Counts a call. Throws RATE_LIMITED (exhausted), with the time after which the next one passes. */
  count(actor: Actor, remoteAddress: string): void;
}

/** What a caller may spend at once after a quiet time, in time of their rate. */
const burstMs = 2_000;
/** Callers who are remembered; whoever has not called for the longest time is forgotten, and starts anew. */
const callersMax = 20_000;

/** Has counted nothing yet. `nowMs` is a clock that only goes forward. */
export function createRateLimiter(limits: RateLimits, nowMs: () => number = () => performance.now()): RateLimiter {
  /**
   * Until when each caller has spent their rate. Two halves, of which the older one is dropped whole when the younger
   * one is full: taking single entries off the front of a large Map costs microseconds.
   */
  let young = new Map<string, number>();
  let old = new Map<string, number>();

  function take(key: string, perS: number): void {
    const now = nowMs();
    const before = Math.max(now, young.get(key) ?? old.get(key) ?? now);
    const waitMs = before + 1_000 / perS - now - burstMs;
    // A refused call costs nothing, but keeps its caller remembered.
    young.set(key, waitMs > 0 ? before : before + 1_000 / perS);
    if (young.size >= callersMax / 2) {
      old = young;
      young = new Map();
    }
    if (waitMs > 0) {
      throw new BillingError('exhausted', 'RATE_LIMITED', 'too many calls; try again later', {
        retryDelayMs: Math.ceil(waitMs),
      });
    }
  }

  return {
    count(actor, remoteAddress) {
      const [key, perS] = keyAndRate(actor, remoteAddress, limits);
      if (perS > 0) take(key, perS);
    },
  };
}

function keyAndRate(actor: Actor, remoteAddress: string, limits: RateLimits): [key: string, perS: number] {
  switch (actor.kind) {
    case 'customer':
      return [`customer:${actor.id}`, limits.viewerPerS];
    case 'operator':
      return [`operator:${actor.id}`, limits.operatorPerS];
    case 'service':
      return [`service:${actor.id}`, limits.servicePerS];
    case 'provider':
    case 'system':
      return [`address:${remoteAddress}`, limits.addressPerS];
  }
}

import { createHash } from 'node:crypto';
import type { Verdict } from './cards.ts';
import type { WebhookFault } from './ledger-line.ts';

/** What the caller of a charge sees instead of its answer. */
export type Fault = 'never' | 'reset' | 'internal_error' | 'key_in_use' | 'rate_limited';

/** How one call of `POST /v1/charges` goes. */
export interface Play {
  /** How the charge ends; undefined when nothing is executed. */
  readonly verdict?: Verdict;
  readonly fault?: Fault;
  /** A repeat of the key sees the fault again, for ever; otherwise only this call does. */
  readonly isStored?: boolean;
}

const paid: Verdict = { kind: 'paid' };

/** Every way that a charge can be scripted to go. */
const plays = {
  ok: { verdict: paid },
  soft_decline: { verdict: { kind: 'declined', code: 'insufficient_funds', hard: false } },
  hard_decline: { verdict: { kind: 'declined', code: 'stolen_card', hard: true } },
  action_required: { verdict: { kind: 'action-required' } },
  processing: { verdict: { kind: 'processing' } },
  charged_unanswered: { verdict: { kind: 'paid-unanswered' }, fault: 'never', isStored: true },
  charged_reset: { verdict: paid, fault: 'reset' },
  charged_500: { verdict: paid, fault: 'internal_error', isStored: true },
  nothing_unanswered: { fault: 'never' },
  nothing_reset: { fault: 'reset' },
  stored_500: { fault: 'internal_error', isStored: true },
  key_in_use: { fault: 'key_in_use' },
  rate_limited: { fault: 'rate_limited' },
} as const satisfies Record<string, Play>;

export type PlayName = keyof typeof plays;

export const playNames = Object.keys(plays) as PlayName[];

/** Those that a refund can go, too: it asks no customer. A declined one ends as failed. */
export const refundPlayNames: readonly PlayName[] = playNames.filter(
  (name) => name !== 'action_required' && name !== 'processing' && name !== 'hard_decline',
);

/** Of a hundred calls; the others go as the card says. The figures of our reliability plan. */
const randomPlays: readonly (readonly [PlayName, percent: number])[] = [
  ['charged_unanswered', 5],
  ['charged_reset', 2],
  ['nothing_reset', 2],
  ['charged_500', 1.5],
  ['stored_500', 1.5],
  ['key_in_use', 1],
  ['rate_limited', 1],
  ['soft_decline', 3],
  ['hard_decline', 3],
  ['processing', 0.5],
];

/** Of a hundred webhooks. A delay that differs from one to the next shuffles them. */
const randomWebhookFaults: readonly (readonly [WebhookFault, percent: number])[] = [
  ['duplicated', 20],
  ['lost', 10],
  ['shuffled', 30],
  ['badly_signed', 1],
];

/** How a call goes by its name. */
export function playNamed(name: PlayName): Play {
  return plays[name];
}

/** The play that a seed draws for the n-th try of a key; the same ones always draw the same. */
export function randomPlay(seed: number, key: string, tryNumber: number): PlayName | undefined {
  return draw(randomPlays, fraction(`${seed} charge ${tryNumber} ${key}`));
}

/** What a seed does to a webhook. */
export function randomWebhookFault(seed: number, eventId: string): WebhookFault | undefined {
  return draw(randomWebhookFaults, fraction(`${seed} webhook ${eventId}`));
}

/** A number in [0, 1) that only depends on the text. */
export function fraction(text: string): number {
  return createHash('sha256').update(text).digest().readUIntBE(0, 6) / 2 ** 48;
}

function draw<T>(chances: readonly (readonly [T, number])[], at: number): T | undefined {
  let left = at * 100;
  for (const [what, percent] of chances) {
    left -= percent;
    if (left < 0) return what;
  }
  return undefined;
}

import { createHmac } from 'node:crypto';

/** How a charge of a card ends. A decline is a result, not an error. */
export type Verdict =
  | { readonly kind: 'paid' }
  /** The money is taken and nobody is told: the answer never comes. */
  | { readonly kind: 'paid-unanswered' }
  /** Waits until the customer confirms it. */
  | { readonly kind: 'action-required' }
  /** Is paid an hour later, by the test clock. */
  | { readonly kind: 'processing' }
  | { readonly kind: 'declined'; readonly code: string; readonly hard: boolean };

interface Behaviour {
  /** When the customer pays with it on the page. */
  readonly onPage: Verdict;
  /** When the merchant charges the saved method later. */
  readonly later: Verdict;
  /** Of a refund to it, an hour later by the test clock; at once and well when left out. */
  readonly refundLater?: 'succeeds' | 'fails';
  /** For the list of test cards on the page. */
  readonly help: string;
}

const paid: Verdict = { kind: 'paid' };
const unanswered: Verdict = { kind: 'paid-unanswered' };
const needsAction: Verdict = { kind: 'action-required' };
const processing: Verdict = { kind: 'processing' };
const noFunds: Verdict = { kind: 'declined', code: 'insufficient_funds', hard: false };
const stolen: Verdict = { kind: 'declined', code: 'stolen_card', hard: true };

const behaviours = {
  pays: { onPage: paid, later: paid, help: 'Always pays' },
  declined_on_page: { onPage: noFunds, later: noFunds, help: 'Declined: insufficient funds' },
  no_funds_later: { onPage: paid, later: noFunds, help: 'Pays now, has no funds later' },
  stolen_later: { onPage: paid, later: stolen, help: 'Pays now, reported stolen later' },
  unanswered_later: { onPage: paid, later: unanswered, help: 'Pays now, later charges are taken but never answered' },
  unanswered_on_page: { onPage: unanswered, later: unanswered, help: 'Pays, but the answer never comes' },
  action_later: { onPage: paid, later: needsAction, help: 'Pays now, later charges need the customer to confirm' },
  processing_later: { onPage: paid, later: processing, help: 'Pays now, later charges take an hour' },
  refund_waits: { onPage: paid, later: paid, refundLater: 'succeeds', help: 'Pays; a refund takes an hour' },
  refund_fails: { onPage: paid, later: paid, refundLater: 'fails', help: 'Pays; a refund fails an hour later' },
} satisfies Record<string, Behaviour>;

export type BehaviourName = keyof typeof behaviours;

const behaviourOfNumber: Readonly<Record<string, BehaviourName>> = {
  '4242424242424242': 'pays',
  '4000056655665556': 'pays',
  '4000002500001001': 'pays',
  '4000000000000002': 'declined_on_page',
  '4000000000000341': 'no_funds_later',
  '4000000000009979': 'stolen_later',
  '4000000000009987': 'unanswered_later',
  '4000000000009995': 'unanswered_on_page',
  '4000000000003220': 'action_later',
  '4000000000000077': 'processing_later',
  '4000000000007726': 'refund_waits',
  '4000000000005126': 'refund_fails',
};

/** Each of these pays, too: instruments enough for as many customers as a test needs. */
const goodNumberForm = /^424242[0-9]{10}$/;

/** The number that the page offers at first. */
export const goodCardNumber = '4242424242424242';

/** What the system keeps of a card. The number itself goes nowhere. */
export interface Card {
  readonly brand: string;
  readonly last4: string;
  readonly expiry_month: number;
  readonly expiry_year: number;
  readonly fingerprint: string;
  readonly behaviour: BehaviourName;
}

/**
 * Reads a number as a person types it, blanks and dashes allowed; undefined when it is not a test card. The
 * fingerprint is a keyed hash of the number: without the key, numbers cannot be tried against it.
 */
export function readCard(typed: string, fingerprintKey: string): Card | undefined {
  const number = typed.replaceAll(/[\s-]/g, '');
  const behaviour = behaviourOf(number);
  if (behaviour === undefined) return undefined;
  const mac = createHmac('sha256', fingerprintKey).update(`card ${number}`).digest('hex');
  return {
    brand: 'visa',
    last4: number.slice(-4),
    expiry_month: 12,
    expiry_year: 2049,
    fingerprint: `fp_${mac.slice(0, 32)}`,
    behaviour,
  };
}

function behaviourOf(number: string): BehaviourName | undefined {
  if (Object.hasOwn(behaviourOfNumber, number)) return behaviourOfNumber[number];
  return goodNumberForm.test(number) && isLuhnValid(number) ? 'pays' : undefined;
}

/** The check digit of card numbers (ISO/IEC 7812-1). */
function isLuhnValid(number: string): boolean {
  const digits = [...number].map(Number).toReversed();
  const sum = digits.reduce((total, digit, index) => {
    const doubled = index % 2 === 1 ? digit * 2 : digit;
    return total + (doubled > 9 ? doubled - 9 : doubled);
  }, 0);
  return sum % 10 === 0;
}

/** What happens when the customer pays with the card on the page. */
export function verdictOnPage(card: Card): Verdict {
  return behaviours[card.behaviour].onPage;
}

/** What happens when the saved card is charged without the customer. */
export function verdictLater(card: Card): Verdict {
  return behaviours[card.behaviour].later;
}

/** When a refund to the card ends, an hour later, and how; undefined when it is done at once. */
export function refundEnding(card: Pick<Card, 'behaviour'>): 'succeeds' | 'fails' | undefined {
  const behaviour: Behaviour = behaviours[card.behaviour];
  return behaviour.refundLater;
}

/** The test cards for the page: `4242 4242 4242 4242` and what it does. */
export function testCards(): { number: string; help: string }[] {
  return Object.entries(behaviourOfNumber).map(([number, name]) => ({
    number: number.replaceAll(/(.{4})(?=.)/g, '$1 '),
    help: behaviours[name].help,
  }));
}

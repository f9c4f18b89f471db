import { createHmac } from 'node:crypto';

/** How a charge of a card ends. A decline is a result, not an error. */
export type Verdict =
  | { readonly kind: 'paid' }
  /** The money is taken and nobody is told: the answer never comes. */
  | { readonly kind: 'paid-unanswered' }
  | { readonly kind: 'declined'; readonly code: string; readonly hard: boolean };

interface Behaviour {
  /** When the customer pays with it on the page. */
  readonly onPage: Verdict;
  /** When the merchant charges the saved method later. */
  readonly later: Verdict;
  /** For the list of test cards on the page. */
  readonly help: string;
}

const paid: Verdict = { kind: 'paid' };
const unanswered: Verdict = { kind: 'paid-unanswered' };
const noFunds: Verdict = { kind: 'declined', code: 'insufficient_funds', hard: false };
const stolen: Verdict = { kind: 'declined', code: 'stolen_card', hard: true };

const behaviours = {
  pays: { onPage: paid, later: paid, help: 'Always pays' },
  declined_on_page: { onPage: noFunds, later: noFunds, help: 'Declined: insufficient funds' },
  no_funds_later: { onPage: paid, later: noFunds, help: 'Pays now, has no funds later' },
  stolen_later: { onPage: paid, later: stolen, help: 'Pays now, reported stolen later' },
  unanswered_later: { onPage: paid, later: unanswered, help: 'Pays now, later charges are taken but never answered' },
  unanswered_on_page: { onPage: unanswered, later: unanswered, help: 'Pays, but the answer never comes' },
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
};

/** The number that the page offers at first. */
export const goodCardNumber = '4242424242424242';

/** What the system keeps of a card. The number itself goes nowhere. */
export interface Card {
  readonly brand: string;
  readonly last4: string;
  readonly expiry_month: number;
  readonly expiry_year: number;
  /** The same for the same number; tells nothing else about it. */
  readonly fingerprint: string;
  readonly behaviour: BehaviourName;
}

/** Reads a number as a person types it, blanks and dashes allowed; undefined when it is not a test card. */
export function readCard(typed: string): Card | undefined {
  const number = typed.replaceAll(/[\s-]/g, '');
  const behaviour = Object.hasOwn(behaviourOfNumber, number) ? behaviourOfNumber[number] : undefined;
  if (behaviour === undefined) return undefined;
  const fingerprint = createHmac('sha256', 'instruments of the sandbox').update(number).digest('hex').slice(0, 32);
  return { brand: 'visa', last4: number.slice(-4), expiry_month: 12, expiry_year: 2049, fingerprint, behaviour };
}

/** What happens when the customer pays with the card on the page. */
export function verdictOnPage(card: Card): Verdict {
  return behaviours[card.behaviour].onPage;
}

/** What happens when the saved card is charged without the customer. */
export function verdictLater(card: Card): Verdict {
  return behaviours[card.behaviour].later;
}

/** The test cards for the page: `4242 4242 4242 4242` and what it does. */
export function testCards(): { number: string; help: string }[] {
  return Object.entries(behaviourOfNumber).map(([number, name]) => ({
    number: number.replaceAll(/(.{4})(?=.)/g, '$1 '),
    help: behaviours[name].help,
  }));
}

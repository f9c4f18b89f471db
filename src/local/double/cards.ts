/** What a double's cards do when they are charged without the customer. On a page each of them pays. */
export type DoubleCard =
  | 'good'
  | 'no funds later'
  | 'stolen later'
  | 'needs customer'
  | 'processing later'
  /** The charge is taken, and the answer, 500, is kept with the key. */
  | 'error later';

export const goodCardNumber = '4242424242424242';

const cards: Readonly<Record<string, DoubleCard>> = {
  [goodCardNumber]: 'good',
  '4000000000000341': 'no funds later',
  '4000000000009979': 'stolen later',
  '4000000000003220': 'needs customer',
};

/** The card of a number that somebody typed; undefined for an unknown one. */
export function cardOfNumber(number: string): DoubleCard | undefined {
  return cards[number.replaceAll(/[ -]/g, '')];
}

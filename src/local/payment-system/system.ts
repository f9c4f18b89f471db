import type { Books } from './books.ts';
import { expireCheckout } from './checkouts.ts';
import { endByItself } from './under-way.ts';
import type { Webhooks } from './webhooks.ts';

/** What the parts that answer calls share. */
export interface System {
  readonly books: Books;
  readonly webhooks: Webhooks;
  readonly apiKey: string;
  /** Where this program listens: `http://127.0.0.1:8090`. */
  readonly baseUrl: string;
  /** While held, time does nothing: whoever moves several clocks has not moved the others yet. */
  readonly due: { held: boolean };
}

/** Does all that is due by the test clock, unless it is held: expires pages, ends what is under way, sends webhooks. */
export async function doWhatIsDue({ books, webhooks, due }: System): Promise<void> {
  if (due.held) return;
  const nowMs = books.clock.nowMs();
  const expired = [...books.state.expiries].filter(([, expiresMs]) => expiresMs <= nowMs);
  const ended = [...books.state.endings].filter(([, { at }]) => Date.parse(at) <= nowMs);
  await Promise.all([
    ...expired.map(([id]) => books.record(expireCheckout(books, books.state.payments.get(id)!))),
    ...ended.map(([id, ending]) => books.record(endByItself(books, id, ending))),
  ]);
  await books.settled();
  webhooks.deliverDue();
}

/** When something is due next, after now; undefined when nothing is waiting. Ms since the epoch, by the test clock. */
export function nextDueMs({ books, webhooks }: System): number | undefined {
  const { expiries, endings } = books.state;
  const instants = [...expiries.values(), ...[...endings.values()].map(({ at }) => Date.parse(at))];
  const retryMs = webhooks.nextTryMs();
  if (retryMs !== undefined) instants.push(retryMs);
  return instants.length === 0 ? undefined : instants.reduce((a, b) => Math.min(a, b));
}

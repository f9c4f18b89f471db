import { createHmac } from 'node:crypto';
import type { Books } from './books.ts';
import { isoOf } from './test-clock.ts';
import type { Webhook } from './webhook.ts';

export interface Webhooks {
  /** Sends what is due. To be called when the clock moved or an event was put on disk. */
  deliverDue(): void;
  /** How many are due now or being delivered. */
  undeliveredCount(): number;
  /** When the next retry is due, after now; undefined when none is waiting. By the test clock. */
  nextTryMs(): number | undefined;
  /** Breaks off what is being sent and sends nothing more. */
  stop(): Promise<void>;
}

const second = 1_000;
const minute = 60 * second;
const hour = 60 * minute;
/** After the first failure, the second, …; the last one repeats. */
const retryDelaysMs = [second, 5 * second, 30 * second, 2 * minute, 10 * minute, hour, 3 * hour, 6 * hour];
const givenUpAfterMs = 72 * hour;
const timeoutMs = 5_000;
const concurrencyMax = 16;

/** Sends the books' events to the merchant until each is answered with 2xx, or for 3 days by the test clock. */
export function createWebhooks(
  books: Books,
  { url, secret, log }: { url: string; secret: string; log: (line: string) => void },
): Webhooks {
  const sending = new Map<string, Promise<void>>();
  const stopped = new AbortController();

  const dueEvents = (): Webhook[] => {
    const nowMs = books.clock.nowMs();
    return [...books.state.pendingWebhooks.values()].filter(
      ({ id, nextTryMs }) => nextTryMs <= nowMs && !sending.has(id),
    );
  };

  const send = async (event: Webhook): Promise<void> => {
    // The event may have been decided a moment ago: the merchant must not hear of what a crash could still undo.
    await books.settled();
    const isLost = event.fault === 'lost';
    const isBadlySigned = event.fault === 'badly_signed' && event.triesCount === 0;
    const signedWith = isBadlySigned ? `not ${secret}` : secret;
    const { status, problem } = isLost ? lostOnPurpose : await post(url, signedWith, bodyOf(event), stopped.signal);
    if (stopped.signal.aborted) return;
    const nowMs = books.clock.nowMs();
    const nextMs = nowMs + (retryDelaysMs[event.triesCount] ?? retryDelaysMs.at(-1)!);
    const isGivenUp = nextMs > Date.parse(event.createdAt) + givenUpAfterMs;
    if (problem !== undefined && !isLost) log(`webhook ${event.id}: ${problem}${isGivenUp ? '; given up' : ''}`);
    const isOver = isLost || isGivenUp || problem === undefined;
    const comesAgain = event.fault === 'duplicated' && event.triesCount === 0 && problem === undefined;
    const next_at = comesAgain ? isoOf(nowMs) : isOver ? null : isoOf(nextMs);
    await books.record({
      type: 'webhook_tried',
      at: isoOf(nowMs),
      delivery: { event: event.id, delivered: problem === undefined, ...(status !== undefined && { status }), next_at },
    });
  };

  const deliverDue = (): void => {
    if (stopped.signal.aborted || sending.size >= concurrencyMax) return;
    for (const event of dueEvents().slice(0, concurrencyMax - sending.size)) {
      const done = send(event)
        .catch((error: unknown) => log(`webhook ${event.id}: ${String(error)}`))
        .finally(() => {
          sending.delete(event.id);
          deliverDue();
        });
      sending.set(event.id, done);
    }
  };

  return {
    deliverDue,
    undeliveredCount: () => dueEvents().length + sending.size,
    nextTryMs() {
      const nowMs = books.clock.nowMs();
      const later = [...books.state.pendingWebhooks.values()]
        .map((event) => event.nextTryMs)
        .filter((ms) => ms > nowMs);
      return later.length === 0 ? undefined : later.reduce((a, b) => Math.min(a, b));
    },
    async stop() {
      stopped.abort();
      await Promise.all(sending.values());
    },
  };
}

/** The header that proves who sent a webhook: HMAC-SHA256 over `<unix seconds>.<raw body>`. */
export function signatureOf(secret: string, unixSeconds: number, body: string): string {
  const mac = createHmac('sha256', secret).update(`${unixSeconds}.${body}`).digest('hex');
  return `t=${unixSeconds},v1=${mac}`;
}

function bodyOf({ id, type, createdAt, payment, refund, dispute }: Webhook): string {
  const data = { payment, ...(refund && { refund }), ...(dispute && { dispute }) };
  return JSON.stringify({ id, type, created_at: createdAt, data });
}

/** What came of one try: the merchant's HTTP status if it answered, and why it does not have the webhook if it has not. */
interface Tried {
  readonly status?: number;
  readonly problem?: string;
}

const lostOnPurpose: Tried = { problem: 'lost on purpose' };

async function post(url: string, secret: string, body: string, stopped: AbortSignal): Promise<Tried> {
  const signature = signatureOf(secret, Math.floor(Date.now() / 1_000), body);
  try {
    const response = await fetch(url, {
      method: 'POST',
      body,
      headers: { 'content-type': 'application/json', 'sandbox-signature': signature },
      redirect: 'manual',
      signal: AbortSignal.any([stopped, AbortSignal.timeout(timeoutMs)]),
    });
    await response.body?.cancel();
    const { ok, status } = response;
    return ok ? { status } : { status, problem: `answered ${status}` };
  } catch (error) {
    const { message, cause } = error as Error;
    return { problem: cause instanceof Error ? cause.message || String(cause) : message };
  }
}

import { openLedger, type Ledger } from './ledger.ts';
import type { LedgerLine } from './ledger-line.ts';
import { applyLine, emptyState, type State } from './payments.ts';
import { fraction, randomWebhookFault } from './scripts.ts';
import { createTestClock, isoOf, type TestClock } from './test-clock.ts';

/** The state, the ledger under it and the clock over it. */
export interface Books {
  readonly state: Readonly<State>;
  readonly clock: TestClock;
  /**
   * Takes a line into the state at once, so that the next decision sees it, and resolves when it is on disk: nobody
   * may be told of it before.
   */
  record(line: LedgerLine): Promise<void>;
  /** Resolves when all that the state holds is on disk. */
  settled(): Promise<void>;
  close(): Promise<void>;
}

const lateMs = 600_000;
const shuffleMs = 60_000;

/** Writes into the line what is done to its webhook, by the customer's script or by chance. */
function withWebhookFault(state: Readonly<State>, line: LedgerLine): LedgerLine {
  const { event, payment } = line;
  if (event === undefined || payment === undefined) return line;
  const scripted = state.scripts.get(payment.customer_reference)?.webhooks ?? undefined;
  const { faultSeed } = state;
  const fault = scripted ?? (faultSeed === undefined ? undefined : randomWebhookFault(faultSeed, event.id));
  if (fault === undefined) return line;
  const laterMs = { late: lateMs, shuffled: Math.floor(fraction(event.id) * shuffleMs) }[fault as string];
  const first_at = laterMs === undefined ? undefined : isoOf(Date.parse(line.at) + laterMs);
  return { ...line, event: { ...event, fault, ...(first_at !== undefined && { first_at }) } };
}

/** Opens the books in a folder, as its ledger tells them. */
export async function openBooks(dataDir: string, onFailure: (error: unknown) => void): Promise<Books> {
  const state = emptyState();
  const ledger: Ledger = await openLedger(dataDir, (line) => applyLine(state, line), onFailure);
  const clock = createTestClock(state.clock, state.latestAt);
  return {
    state,
    clock,
    record(decided) {
      const line = withWebhookFault(state, decided);
      applyLine(state, line);
      if (line.clock) clock.apply(line.clock);
      return ledger.append(line);
    },
    settled: () => ledger.settled(),
    close: () => ledger.close(),
  };
}

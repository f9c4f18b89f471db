import { openLedger, type Ledger } from './ledger.ts';
import type { LedgerLine } from './ledger-line.ts';
import { applyLine, emptyState, type State } from './payments.ts';
import { createTestClock, type TestClock } from './test-clock.ts';

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

/** Opens the books in a folder, as its ledger tells them. */
export async function openBooks(dataDir: string, onFailure: (error: unknown) => void): Promise<Books> {
  const state = emptyState();
  const ledger: Ledger = await openLedger(dataDir, (line) => applyLine(state, line), onFailure);
  const clock = createTestClock(state.clock, state.latestAt);
  return {
    state,
    clock,
    record(line) {
      applyLine(state, line);
      if (line.clock) clock.apply(line.clock);
      return ledger.append(line);
    },
    settled: () => ledger.settled(),
    close: () => ledger.close(),
  };
}

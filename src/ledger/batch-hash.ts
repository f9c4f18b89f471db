import { createHash } from 'node:crypto';
import type { FactRow } from './journal-fact.ts';

/** The hash before the first batch of a lane: 64 zeros. */
export const noHash = '0'.repeat(64);

export interface BatchHeader {
  readonly lane: number;
  /** From 1, without a gap in its lane. */
  readonly sequence: string;
  /** Lower-case hex. */
  readonly previousHash: string;
  readonly factCount: number;
  readonly recordedAtMs: string;
}

/** A batch's hash while its facts go by, in the order of their positions. */
export interface BatchHash {
  /** Throws on a line that could be read as other fields. */
  addLine(line: string): void;
  /** Lower-case hex. */
  digest(): string;
}

/** Printable ASCII without blanks between tabs: a tab inside a field would be another field. */
const lineForm = /^[!-~]*(?:\t[!-~]*){14}$/;

/** Begins the hash of a batch; what is hashed is laid down in README.md. */
export function startBatchHash(header: BatchHeader): BatchHash {
  const { lane, sequence, previousHash, factCount, recordedAtMs } = header;
  const hash = createHash('sha256');
  hash.update(`journal-1\t${lane}\t${sequence}\t${previousHash}\t${factCount}\t${recordedAtMs}\n`);
  return {
    addLine(line) {
      if (!lineForm.test(line)) throw new Error('a fact has a field that is not printable ASCII without blanks');
      hash.update(`${line}\n`);
    },
    digest: () => hash.digest('hex'),
  };
}

/** The line of a fact, without its end. */
export function lineOf(position: number, fact: FactRow): string {
  return (
    `${position}\t${fact.kind}\t${fact.subscription_id}\t${fact.payment_id ?? ''}\t${fact.attempt_id ?? ''}` +
    `\t${fact.refund_id ?? ''}\t${fact.provider ?? ''}\t${fact.merchant_account ?? ''}` +
    `\t${fact.provider_payment_id ?? ''}\t${fact.provider_refund_id ?? ''}\t${fact.amount_minor ?? ''}` +
    `\t${fact.currency_code ?? ''}\t${fact.period_start_ms ?? ''}\t${fact.period_end_ms ?? ''}\t${fact.occurred_at_ms}`
  );
}

import assert from 'node:assert/strict';
import { attemptLeaseMs } from '../../payments/attempt-rows.ts';
import { chargeChecks } from './charge-checks.ts';
import type { ContractCheck } from './check.ts';
import { disputeChecks } from './dispute-checks.ts';
import { noticeChecks } from './notice-checks.ts';
import { pageChecks } from './page-checks.ts';
import { refundChecks } from './refund-checks.ts';

const hourMs = 3_600_000;

const capabilityCheck: ContractCheck = {
  title: 'its capabilities leave room for the protocol: a call ends before its lease, a key outlives the last repeat',
  async run(subject) {
    const { name, merchantAccount, capabilities } = subject.build();
    assert.match(name, /^[a-z][a-z0-9-]{1,31}$/);
    assert.ok(merchantAccount.length > 0);
    assert.ok(capabilities.callDeadlineMs > 0 && capabilities.callDeadlineMs < attemptLeaseMs);
    assert.ok(capabilities.idempotencyWindowMs >= 24 * hourMs);
    assert.ok(capabilities.maxConcurrency >= 1 && capabilities.maxConcurrency <= 256);
    assert.ok(capabilities.checkoutTtlMs >= hourMs);
  },
};

/** Everything that a payment system's code must do before it may touch money; each check stands alone. */
export const providerContract: readonly ContractCheck[] = [
  capabilityCheck,
  ...pageChecks,
  ...chargeChecks,
  ...refundChecks,
  ...disputeChecks,
  ...noticeChecks,
];

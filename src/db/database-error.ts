import { BillingError } from '../lib/billing-error.ts';

const retryDelayMs = 1_000;

/** SQLSTATEs and Node's codes that say: not now. Classes 08 and 57P, too many connections, out of resources. */
const awayPattern = /^(08...|57P0[123]|53...|25P0[234]|57014|ECONNREFUSED|ECONNRESET|EPIPE|ETIMEDOUT|ENOTFOUND)$/;
/** Serialization failure, deadlock, lock timeout: another one was faster. */
const racePattern = /^(40001|40P01|55P03)$/;
const poolMessages =
  /timeout exceeded when trying to connect|Connection terminated|connection is not open|Client has encountered a connection error/;

/**
 * What a failure of the database means for a caller: DATABASE_UNAVAILABLE or LOCK_TIMEOUT, both worth a repeat;
 * undefined for any other error.
 */
export function describeDatabaseError(thrown: unknown): BillingError | undefined {
  for (let error = thrown, depth = 0; error instanceof Error && depth < 5; error = error.cause, depth++) {
    const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
    if (awayPattern.test(code) || poolMessages.test(error.message)) {
      return new BillingError(
        'unavailable',
        'DATABASE_UNAVAILABLE',
        'the service cannot reach its database; try again',
        {
          cause: thrown,
          retryDelayMs,
        },
      );
    }
    if (racePattern.test(code)) {
      return new BillingError('conflict', 'LOCK_TIMEOUT', 'another call is changing the same thing; try again', {
        cause: thrown,
        retryDelayMs,
      });
    }
  }
  return undefined;
}

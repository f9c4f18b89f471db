import { timestampFromMs, timestampMs, type Timestamp } from '@bufbuild/protobuf/wkt';
import { BillingError } from '../../lib/billing-error.ts';

// 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z: what google.protobuf.Timestamp allows.
const secondsMin = -62_135_596_800n;
const secondsMax = 253_402_300_799n;
const nanosMax = 999_999_999;

/** An instant as the contract has it. */
export function toTimestamp(instant: Temporal.Instant): Timestamp {
  return timestampFromMs(instant.epochMilliseconds);
}

/**
 * An instant from the contract, to the millisecond. Throws INVALID_FIELDS for numbers that are no instant, which only
 * the binary form can carry.
 */
export function fromTimestamp(timestamp: Timestamp, field: string): Temporal.Instant {
  const { seconds, nanos } = timestamp;
  if (seconds < secondsMin || seconds > secondsMax || nanos < 0 || nanos > nanosMax) {
    throw new BillingError('invalid', 'INVALID_FIELDS', 'fields of the request are not valid', {
      fieldViolations: [{ field, description: 'must be an instant of the years 1 to 9999' }],
    });
  }
  return Temporal.Instant.fromEpochMilliseconds(timestampMs(timestamp));
}

/** The same names as timestamps; what is not set is left out. */
export function presentTimestamps<Name extends string>(
  instants: Record<Name, Temporal.Instant | null>,
): { [N in Name]?: Timestamp } {
  const set = Object.entries<Temporal.Instant | null>(instants).flatMap(([name, instant]) =>
    instant ? [[name, toTimestamp(instant)]] : [],
  );
  return Object.fromEntries(set) as { [N in Name]?: Timestamp };
}

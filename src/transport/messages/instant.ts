import { timestampFromMs, timestampMs, type Timestamp } from '@bufbuild/protobuf/wkt';

/** An instant as the contract has it. */
export function toTimestamp(instant: Temporal.Instant): Timestamp {
  return timestampFromMs(instant.epochMilliseconds);
}

/** An instant from the contract, to the millisecond. */
export function fromTimestamp(timestamp: Timestamp): Temporal.Instant {
  return Temporal.Instant.fromEpochMilliseconds(timestampMs(timestamp));
}

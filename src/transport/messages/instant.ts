import { timestampFromMs, timestampMs, type Timestamp } from '@bufbuild/protobuf/wkt';

/** An instant as the contract has it. */
export function toTimestamp(instant: Temporal.Instant): Timestamp {
  return timestampFromMs(instant.epochMilliseconds);
}

/** An instant from the contract, to the millisecond. */
export function fromTimestamp(timestamp: Timestamp): Temporal.Instant {
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

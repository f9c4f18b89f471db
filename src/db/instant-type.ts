import { p, Type } from '@mikro-orm/core';

/** Reads what PostgreSQL prints for a timestamptz: `2027-01-31 12:00:00.123+00`. */
export function instantFromRow(value: string | Date): Temporal.Instant {
  return typeof value === 'string'
    ? Temporal.Instant.from(value)
    : Temporal.Instant.fromEpochMilliseconds(value.getTime());
}

/** As `instantFromRow`, for a nullable column. */
export function optionalInstantFromRow(value: string | null): Temporal.Instant | null {
  return value === null ? null : instantFromRow(value);
}

/**
 * A `timestamptz(3)` column as a Temporal.Instant. Milliseconds on both sides: a cursor that loses the microseconds
 * would claim rows twice.
 */
export class InstantType extends Type<Temporal.Instant | null | undefined, string | null | undefined> {
  override convertToDatabaseValue(value: Temporal.Instant | null | undefined): string | null | undefined {
    return value?.toString({ fractionalSecondDigits: 3 }) ?? null;
  }

  override convertToJSValue(value: string | Date | null | undefined): Temporal.Instant | null {
    return value === null || value === undefined ? null : instantFromRow(value);
  }

  override compareAsType(): string {
    return 'string';
  }

  override getColumnType(): string {
    return 'timestamptz(3)';
  }
}

/** A property of an entity that is a Temporal.Instant in a `timestamptz(3)` column. */
export const instant = () => p.type(InstantType).$type<Temporal.Instant>();

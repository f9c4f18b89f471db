/**
 * The part of an amount for the unused rest of a period, in minor units: whole seconds, half up (design D8). `at` before
 * the period gives all of it, after the period nothing.
 */
export function unusedPart(
  amountMinor: bigint,
  period: { start: Temporal.Instant; end: Temporal.Instant },
  at: Temporal.Instant,
): bigint {
  const total = seconds(period.end) - seconds(period.start);
  if (total <= 0n) throw new Error('a period has an end after its start');
  const left = seconds(period.end) - seconds(at);
  if (left <= 0n) return 0n;
  if (left >= total) return amountMinor;
  return (2n * amountMinor * left + total) / (2n * total);
}

function seconds(at: Temporal.Instant): bigint {
  return BigInt(Math.floor(at.epochMilliseconds / 1_000));
}

const tag = '$';

/** JSON that keeps bigint and Temporal.Instant; `decodeJson` reads it back. */
export function encodeJson(value: unknown): string {
  return JSON.stringify(value, function replace(this: Record<string, unknown>, key: string, plain: unknown) {
    const original = this[key];
    if (original instanceof Temporal.Instant) return { [tag]: 'instant', value: original.toString() };
    if (typeof original === 'bigint') return { [tag]: 'bigint', value: original.toString() };
    return plain;
  });
}

/** Reads what `encodeJson` wrote. */
export function decodeJson(text: string): unknown {
  return JSON.parse(text, (_key, value: unknown) => {
    if (typeof value !== 'object' || value === null || !(tag in value)) return value;
    const { [tag]: type, value: written } = value as unknown as { $: string; value: string };
    return type === 'instant' ? Temporal.Instant.from(written) : BigInt(written);
  });
}

export type Fields = Record<string, unknown>;

/** An id as the payment system makes them. */
export const idForm = /^[\x21-\x7e]{1,128}$/;

/** The fields of an object. Throws when it is none. */
export function fieldsOf(value: unknown): Fields {
  if (typeof value !== 'object' || value === null) throw new Error('not an object');
  return value as Fields;
}

/** A field with a text of this form. Throws when it does not have it. */
export function text(fields: Fields, name: string, form: RegExp): string {
  const value = fields[name];
  if (typeof value !== 'string' || !form.test(value)) throw new Error(`${name} does not have its form`);
  return value;
}

/** A field with a whole number within bounds. Throws when it is none. */
export function whole(fields: Fields, name: string, min: number, max: number): number {
  const value = fields[name];
  if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value;
  throw new Error(`${name} is not a whole number from ${min} to ${max}`);
}

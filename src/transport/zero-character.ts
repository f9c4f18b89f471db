import type { Message } from '@bufbuild/protobuf';
import { BillingError } from '../lib/billing-error.ts';

/**
 * Throws INVALID_FIELDS when a text of the message holds U+0000: PostgreSQL stores none, and takes a query with one for
 * a broken connection. Here once, because a rule per field would be forgotten with the next field.
 */
export function refuseZeroCharacter(message: Message): void {
  const path = findZero(message, '');
  if (path === undefined) return;
  throw new BillingError('invalid', 'INVALID_FIELDS', 'fields of the request are not valid', {
    fieldViolations: [{ field: path, description: 'must not contain the character U+0000' }],
  });
}

/** The path of the first such text, in the names of the contract: `payload.content_type`. */
function findZero(value: unknown, path: string): string | undefined {
  if (typeof value === 'string') return value.includes('\0') ? path : undefined;
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return undefined;
  for (const [name, inner] of Object.entries(value)) {
    const found = findZero(inner, join(path, name, Array.isArray(value)));
    if (found !== undefined) return found;
  }
  return undefined;
}

function join(path: string, name: string, isItem: boolean): string {
  if (isItem) return `${path}[${name}]`;
  const ofContract = name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  return path === '' ? ofContract : `${path}.${ofContract}`;
}

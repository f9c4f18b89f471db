import { createHash } from 'node:crypto';
import { BillingError } from '../lib/billing-error.ts';

const defaultPageSize = 50;

export interface PageRequest {
  /** 0 for the default, 50. */
  readonly pageSize: number;
  /** From the page before; empty for the first page. */
  readonly pageToken: string;
}

/** Where a page starts: after the row with this instant and id, in a list that is newest first. */
export interface PageCursor {
  readonly at: Temporal.Instant;
  readonly id: string;
}

/** How many rows to return. */
export function pageSizeOf(request: PageRequest): number {
  return request.pageSize === 0 ? defaultPageSize : request.pageSize;
}

/** Reads a page token, which only fits the list it was made for. Throws PAGE_TOKEN_INVALID. */
export function readPageToken(list: string, request: PageRequest): PageCursor | undefined {
  if (request.pageToken === '') return undefined;
  try {
    const [at, id, check] = Buffer.from(request.pageToken, 'base64url').toString().split(' ');
    if (check !== fingerprint(list)) throw new Error('the token is of another list');
    return { at: Temporal.Instant.from(at!), id: id! };
  } catch (cause) {
    throw new BillingError('invalid', 'PAGE_TOKEN_INVALID', 'page_token does not belong to this list', {
      cause,
      fieldViolations: [{ field: 'page_token', description: 'does not belong to this list' }],
    });
  }
}

/**
 * Cuts a page off rows that were read with one row more than the page size, and makes the token for the next one; by
 * key, not by offset, so that new rows move nothing.
 */
export function cutPage<T>(
  list: string,
  request: PageRequest,
  rows: readonly T[],
  cursorOf: (row: T) => PageCursor,
): { items: T[]; nextPageToken: string } {
  const items = rows.slice(0, pageSizeOf(request));
  if (rows.length <= items.length) return { items, nextPageToken: '' };
  const { at, id } = cursorOf(items.at(-1)!);
  return { items, nextPageToken: Buffer.from(`${at.toString()} ${id} ${fingerprint(list)}`).toString('base64url') };
}

function fingerprint(list: string): string {
  return createHash('sha256').update(list).digest('base64url').slice(0, 16);
}

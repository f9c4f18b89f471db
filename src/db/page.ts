import { createHmac, timingSafeEqual } from 'node:crypto';
import { BillingError } from '../lib/billing-error.ts';

const defaultPageSize = 50;

export interface PageRequest {
  /** 0 for the default, 50. */
  readonly pageSize: number;
  /** From the page before; empty for the first page. */
  readonly pageToken: string;
}

/** Whose walk through a list it is; a call's context. A token is signed, and fits its own caller only. */
export interface PageOwner {
  readonly secret: string;
  readonly actor: { readonly kind: string; readonly id: string };
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

/**
 * Reads a page token, which only fits the list it was made for, with its filter, and who it was made for. Throws
 * PAGE_TOKEN_INVALID.
 */
export function readPageToken(owner: PageOwner, list: string, request: PageRequest): PageCursor | undefined {
  if (request.pageToken === '') return undefined;
  try {
    const [at, id, signature] = Buffer.from(request.pageToken, 'base64url').toString().split(' ');
    const expected = Buffer.from(sign(owner, list, `${at} ${id}`));
    const sent = Buffer.from(signature ?? '');
    if (sent.length !== expected.length || !timingSafeEqual(sent, expected)) {
      throw new Error('the token is of another list, or of nobody');
    }
    return { at: Temporal.Instant.from(at!), id: decodeURIComponent(id!) };
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
  owner: PageOwner,
  list: string,
  request: PageRequest,
  rows: readonly T[],
  cursorOf: (row: T) => PageCursor,
): { items: T[]; nextPageToken: string } {
  const items = rows.slice(0, pageSizeOf(request));
  if (rows.length <= items.length) return { items, nextPageToken: '' };
  const { at, id } = cursorOf(items.at(-1)!);
  const place = `${at.toString()} ${encodeURIComponent(id)}`;
  return { items, nextPageToken: Buffer.from(`${place} ${sign(owner, list, place)}`).toString('base64url') };
}

function sign({ secret, actor }: PageOwner, list: string, place: string): string {
  const text = JSON.stringify(['page', actor.kind, actor.id, list, place]);
  return createHmac('sha256', secret).update(text).digest('base64url').slice(0, 22);
}

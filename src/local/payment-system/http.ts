import type { IncomingMessage, ServerResponse } from 'node:http';
import { ApiError } from './api-error.ts';

export interface Answer {
  readonly status: number;
  /** An object is sent as JSON, a text as it is. */
  readonly body: object | string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** The connection is held open and never answered. */
export const never = Symbol('never');

/** The connection is reset without an answer. */
export const reset = Symbol('reset');

/** An answer, or what comes instead of one. */
export type Reply = Answer | typeof never | typeof reset;

const bodyBytesMax = 64 * 1_024;

/** Reads a body whole. Throws an ApiError when it is larger than 64 KiB. */
export async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  // Leaving the loop early must not close the connection: the refusal still has to go out.
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > bodyBytesMax) {
      throw new ApiError(413, 'body_too_large', `the body is larger than ${bodyBytesMax} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

/** Reads a body that has to be a JSON object; an empty one is `{}`. */
export function parseObject(text: string): Record<string, unknown> {
  if (text === '') return {};
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    throw new ApiError(400, 'body_invalid', 'the body is not JSON');
  }
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw new ApiError(400, 'body_invalid', 'the body is not a JSON object');
  }
  return body as Record<string, unknown>;
}

/** Writes an answer whole. */
export function sendAnswer(response: ServerResponse, { status, body, headers }: Answer): void {
  const isText = typeof body === 'string';
  response.writeHead(status, {
    'content-type': isText ? 'text/html; charset=utf-8' : 'application/json',
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...headers,
  });
  response.end(isText ? body : JSON.stringify(body));
}

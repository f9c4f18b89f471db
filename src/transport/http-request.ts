import type { IncomingMessage } from 'node:http';
import { callIdOf, type Entrance, type Incoming, type RequestHeaders } from './call.ts';
import { bodyBytesMax } from './limits.ts';
import { bodyTooLarge, deadlineInvalid, malformedMessage } from './refusals.ts';

/** The call as dispatch wants it; the deadline is added where the protocol has one. */
export function readIncoming(req: IncomingMessage, entrance: Entrance): Incoming {
  // Node makes a list of this one alone, which is no request's header.
  if (req.headers['set-cookie'] !== undefined) delete req.headers['set-cookie'];
  const headers = req.headers as RequestHeaders;
  return {
    entrance,
    callId: callIdOf(headers),
    headers,
    deadlineMs: undefined,
    remoteAddress: req.socket.remoteAddress ?? '',
  };
}

/**
 * The whole body, as it came. Throws BODY_TOO_LARGE as soon as it is longer than the limit; what is left of it is then
 * read and dropped by Node, so that the caller sees the answer instead of a reset. `frameBytes` is what the protocol
 * adds to the message.
 */
export async function readBody(req: IncomingMessage, frameBytes = 0): Promise<Buffer> {
  const bytesMax = bodyBytesMax + frameBytes;
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of req.iterator({ destroyOnReturn: false })) {
      chunks.push(chunk as Buffer);
      bytes += (chunk as Buffer).length;
      if (bytes > bytesMax) break;
    }
  } catch (cause) {
    throw malformedMessage('the body did not arrive whole', cause);
  }
  if (bytes > bytesMax) throw bodyTooLarge();
  return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
}

const unitMs: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 1e-3, n: 1e-6 };

/** When a Connect or gRPC-Web caller stops waiting, in milliseconds since the epoch. Throws DEADLINE_INVALID. */
export function readDeadlineMs({ headers }: Incoming): number | undefined {
  const connectTimeout = headers['connect-timeout-ms'];
  if (connectTimeout !== undefined) {
    if (!/^\d{1,10}$/.test(connectTimeout)) throw deadlineInvalid();
    return Date.now() + Number(connectTimeout);
  }
  const grpcTimeout = headers['grpc-timeout'];
  if (grpcTimeout === undefined) return undefined;
  const parts = /^(\d{1,8})([HMSmun])$/.exec(grpcTimeout);
  if (parts === null) throw deadlineInvalid();
  return Date.now() + Number(parts[1]) * unitMs[parts[2]!]!;
}

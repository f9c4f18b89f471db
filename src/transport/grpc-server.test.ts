import { connect as connectHttp2, type IncomingHttpHeaders } from 'node:http2';
import { gzipSync } from 'node:zlib';
import { fromBinary, toJson } from '@bufbuild/protobuf';
import { anyUnpack } from '@bufbuild/protobuf/wkt';
import test from 'ava';
import { PlanService } from '@cinema-billing/gen/billing/v1/plan_service_pb.ts';
import { ErrorInfoSchema } from '@cinema-billing/gen/google/rpc/error_details_pb.ts';
import { StatusSchema } from '@cinema-billing/gen/google/rpc/status_pb.ts';
import { startTestTransport, type TestTransport } from '../testing/running-transport.ts';

let server: TestTransport;
let handled = 0;

test.before(async () => {
  server = await startTestTransport((router) =>
    router.add(PlanService, {
      listPlans: async () => {
        handled += 1;
        return {};
      },
      // Not a Timestamp's or a string's value: what a bug in a mapping would return.
      getPlan: async () => ({ plan: { prices: [{ intervalCount: 2 ** 40 }] } }),
    }),
  );
});
test.after.always(async () => {
  await server.stop();
});

interface RawAnswer {
  status: number;
  grpcStatus: string;
  grpcMessage: string;
  info: unknown;
}

/** A gRPC call written byte by byte, for what no client library would send. */
async function rawCall(body: Buffer, headers: Record<string, string> = {}, method = 'ListPlans'): Promise<RawAnswer> {
  const session = connectHttp2(`http://127.0.0.1:${server.grpcPort}`);
  try {
    const stream = session.request({
      ':method': 'POST',
      ':path': `/billing.v1.PlanService/${method}`,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...headers,
    });
    stream.end(body);
    const { promise, resolve, reject } = Promise.withResolvers<IncomingHttpHeaders>();
    const seen: IncomingHttpHeaders = {};
    stream.on('response', (received) => Object.assign(seen, received));
    stream.on('trailers', (received) => Object.assign(seen, received));
    stream.on('error', reject);
    stream.on('close', () => resolve(seen));
    stream.resume();
    const all = await promise;
    const details = all['grpc-status-details-bin'];
    const status = details === undefined ? undefined : fromBinary(StatusSchema, Buffer.from(String(details), 'base64'));
    const errorInfo = status && anyUnpack(status.details[0]!, ErrorInfoSchema);
    return {
      status: Number(all[':status']),
      grpcStatus: String(all['grpc-status']),
      grpcMessage: decodeURI(String(all['grpc-message'])),
      info: errorInfo && toJson(ErrorInfoSchema, errorInfo),
    };
  } finally {
    session.close();
  }
}

function frame(message: Buffer, compressed = false): Buffer {
  const head = Buffer.alloc(5);
  head[0] = compressed ? 1 : 0;
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

const refused = (grpcStatus: string, grpcMessage: string, reason: string): RawAnswer => ({
  status: 200,
  grpcStatus,
  grpcMessage,
  info: { reason, domain: 'billing' },
});

test('refuses bytes that are no message as the caller’s mistake, not ours', async (t) => {
  const expected = refused('3', 'the request cannot be decoded', 'MALFORMED_MESSAGE');
  t.deepEqual(await rawCall(frame(Buffer.from([0x0a, 0x05, 0x41]))), expected);
  t.deepEqual(await rawCall(frame(Buffer.from('{"currencyCode":"RUB"}'))), expected);
  t.deepEqual(await rawCall(Buffer.alloc(0)), expected);
  t.deepEqual(await rawCall(Buffer.concat([frame(Buffer.alloc(0)), frame(Buffer.alloc(0))])), expected);
});

test('refuses a message that is too large once decompressed, before it fills the memory', async (t) => {
  const bomb = gzipSync(Buffer.alloc(50 * 1024 * 1024));
  t.true(bomb.length < 256 * 1024);
  const expected = refused('8', 'a request is at most 256 KiB', 'BODY_TOO_LARGE');
  t.deepEqual(await rawCall(frame(bomb, true), { 'grpc-encoding': 'gzip' }), expected);
});

test('takes a message of exactly 256 KiB, and not one byte more', async (t) => {
  // Unknown field 100 of 262,139 bytes fills the message up to the limit.
  const message = Buffer.concat([Buffer.from([0xa2, 0x06, 0xfb, 0xff, 0x0f]), Buffer.alloc(262_139)]);
  t.is((await rawCall(frame(message))).grpcStatus, '0');
  const larger = Buffer.concat([Buffer.from([0xa2, 0x06, 0xfc, 0xff, 0x0f]), Buffer.alloc(262_140)]);
  t.deepEqual(await rawCall(frame(larger)), refused('8', 'a request is at most 256 KiB', 'BODY_TOO_LARGE'));
});

test('reads a compressed message, and refuses a broken or unknown compression', async (t) => {
  const gzip = { 'grpc-encoding': 'gzip' };
  t.is((await rawCall(frame(gzipSync(Buffer.alloc(0)), true), gzip)).grpcStatus, '0');
  t.deepEqual(
    await rawCall(frame(Buffer.from('not gzip'), true), gzip),
    refused('3', 'the request cannot be decoded', 'MALFORMED_MESSAGE'),
  );
  t.deepEqual(
    await rawCall(frame(Buffer.from('x'), true), { 'grpc-encoding': 'zstd' }),
    refused('12', 'this compression is not supported', 'ENCODING_UNSUPPORTED'),
  );
});

test.serial('refuses more than 16 KiB of headers without calling the method', async (t) => {
  const before = handled;
  const answer = await rawCall(frame(Buffer.alloc(0)), { 'x-long': 'x'.repeat(17 * 1024) });
  t.deepEqual(answer, refused('8', 'headers are at most 16 KiB', 'HEADERS_TOO_LARGE'));
  t.is(handled, before);
});

test('calls an answer that cannot be encoded an internal error, with its details', async (t) => {
  t.deepEqual(
    await rawCall(frame(Buffer.from([0x0a, 0x01, 0x61])), {}, 'GetPlan'),
    refused('13', 'internal error', 'INTERNAL'),
  );
});

test('answers UNIMPLEMENTED for an unknown method', async (t) => {
  t.is((await rawCall(frame(Buffer.alloc(0)), {}, 'DropPlans')).grpcStatus, '12');
});

test('refuses another content type', async (t) => {
  t.is((await rawCall(frame(Buffer.alloc(0)), { 'content-type': 'application/json' })).status, 415);
});

test('answers 128 calls at once on one connection and no more', async (t) => {
  const session = connectHttp2(`http://127.0.0.1:${server.grpcPort}`);
  const settings = await new Promise<{ maxConcurrentStreams?: number | undefined }>((resolve) => {
    session.on('remoteSettings', resolve);
  });
  session.close();
  t.is(settings.maxConcurrentStreams, 128);
});

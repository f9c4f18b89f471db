import { once } from 'node:events';
import { request } from 'node:https';
import { connect, type TLSSocket } from 'node:tls';
import { Client, credentials } from '@grpc/grpc-js';
import { toBinary, create } from '@bufbuild/protobuf';
import test from 'ava';
import { ListPlansRequestSchema, PlanService } from '@cinema-billing/gen/billing/v1/plan_service_pb.ts';
import { startTestTransport, type TestTransport } from '../testing/running-transport.ts';
import { createSelfSigned } from '../testing/self-signed.ts';

const tls = createSelfSigned();
const another = createSelfSigned();
let server: TestTransport;

test.before(async () => {
  const answer = async () => ({});
  server = await startTestTransport((router) => router.add(PlanService, { listPlans: answer, getPlan: answer }), {
    tls,
  });
});
test.after.always(async () => {
  await server.stop();
});

function getOverHttps(path: string, ca: string): Promise<{ status: number; hsts: unknown }> {
  return new Promise((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port: server.httpPort, path, ca, agent: false }, (answer) => {
      answer.resume();
      resolve({ status: answer.statusCode!, hsts: answer.headers['strict-transport-security'] });
    });
    sent.on('error', reject);
    sent.end();
  });
}

function listPlansOverGrpc(secured: ReturnType<typeof credentials.createSsl>): Promise<string> {
  const client = new Client(`127.0.0.1:${server.grpcPort}`, secured, {
    'grpc.ssl_target_name_override': 'localhost',
  });
  const bytes = Buffer.from(toBinary(ListPlansRequestSchema, create(ListPlansRequestSchema)));
  return new Promise((resolve) => {
    client.makeUnaryRequest(
      '/billing.v1.PlanService/ListPlans',
      (request: Buffer) => request,
      (answer: Buffer) => answer,
      bytes,
      { deadline: Date.now() + 5_000 },
      (error) => {
        client.close();
        resolve(error ? `code ${error.code}` : 'OK');
      },
    );
  });
}

test('both listeners show the configured certificate, and browsers are told to stay on TLS', async (t) => {
  t.deepEqual(await getOverHttps('/livez', tls.certificatePem), { status: 200, hsts: 'max-age=31536000' });
  t.is(await listPlansOverGrpc(credentials.createSsl(Buffer.from(tls.certificatePem))), 'OK');
});

test('a caller who trusts another certificate gets no answer', async (t) => {
  await t.throwsAsync(getOverHttps('/livez', another.certificatePem), { message: /self-signed|unable to verify/ });
  t.is(await listPlansOverGrpc(credentials.createSsl(Buffer.from(another.certificatePem))), 'code 14');
});

test('neither listener answers in clear text', async (t) => {
  await t.throwsAsync(fetch(`${server.url}/livez`));
  t.is(await listPlansOverGrpc(credentials.createInsecure()), 'code 14');
});

test('neither listener speaks TLS before 1.2', async (t) => {
  for (const port of [server.httpPort, server.grpcPort]) {
    const socket: TLSSocket = connect({
      host: '127.0.0.1',
      port,
      ca: tls.certificatePem,
      minVersion: 'TLSv1',
      maxVersion: 'TLSv1.1',
      ciphers: 'ALL:@SECLEVEL=0',
    });
    await t.throwsAsync(once(socket, 'secureConnect'), { message: /protocol version/ });
    socket.destroy();
  }
});

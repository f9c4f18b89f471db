import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fromBinary, getOption, type DescMethodUnary } from '@bufbuild/protobuf';
import { anyUnpack } from '@bufbuild/protobuf/wkt';
import { Client, credentials, Metadata, status } from '@grpc/grpc-js';
import test from 'ava';
import { access, OperatorRole } from '@cinema-billing/gen/billing/options/v1/access_pb.ts';
import { ErrorInfoSchema } from '@cinema-billing/gen/google/rpc/error_details_pb.ts';
import { StatusSchema } from '@cinema-billing/gen/google/rpc/status_pb.ts';
import { contractServices } from './testing/contract-services.ts';
import { createDice, mutatedBinary, mutatedJson, randomMessage, type GoodValues } from './testing/mutated-message.ts';
import { startWorld, type World } from './testing/world.ts';

const full = process.env['BILLING_TEST_TIER'] === 'full';
/** `BILLING_TEST_SEED=7 npm run test:full -- src/mutated-messages.test.ts` does the same again. */
const seed = Number(process.env['BILLING_TEST_SEED'] ?? (full ? Date.now() % 1_000_000 : 1));
const messagesPerRpcAndForm = full ? 1_000 : 60;
const atOnce = 16;
const growthMaxBytes = 50 * 1024 * 1024;
const root = join(import.meta.dirname, '..');

let world: World;
test.before(async () => {
  const noLimit = Object.fromEntries(
    ['VIEWER', 'OPERATOR', 'SERVICE', 'ADDRESS'].map((name) => [`BILLING_RATE_LIMIT_${name}_PER_S`, '0']),
  );
  // With little room, memory that is kept shows soon.
  world = await startWorld({
    env: { ...noLimit, BILLING_LOG_LEVEL: 'warn', NODE_OPTIONS: '--max-old-space-size=128' },
  });
});
test.after.always(() => world?.stop());

/** `INVALID_ARGUMENT INVALID_FIELDS` and all the others that docs/errors.md lists. */
function documentedErrors(): Set<string> {
  const text = readFileSync(join(root, 'docs/errors.md'), 'utf8');
  const rows = [...text.matchAll(/^\| `([A-Z_]+)`\s*\| ([A-Z_]+)/gm)];
  return new Set(rows.map(([, reason, code]) => `${code} ${reason}`));
}

async function tokenFor(method: DescMethodUnary, viewer: string): Promise<string> {
  const rule = getOption(method, access);
  if (rule.customer) return viewer;
  if (rule.serviceScopes.length > 0) return world.auth.token({ sub: 'fuzz', scope: rule.serviceScopes.join(' ') });
  return rule.operatorRole === OperatorRole.UNSPECIFIED ? viewer : world.auth.token({ sub: 'fuzz', role: 'admin' });
}

type Send = (method: DescMethodUnary, body: Buffer | string, token: string) => Promise<string>;

/** Calls with these very bytes; answers `OK`, or the code and the reason of its details. */
function sendOverGrpc(client: Client): Send {
  return (method, body, token) => {
    const metadata = new Metadata();
    metadata.set('authorization', `Bearer ${token}`);
    return new Promise((resolve) => {
      client.makeUnaryRequest(
        `/${method.parent.typeName}/${method.name}`,
        (bytes: Buffer) => bytes,
        (bytes: Buffer) => bytes,
        body as Buffer,
        metadata,
        { deadline: Date.now() + 10_000 },
        (error) => {
          if (!error) return resolve('OK');
          const bytes = error.metadata?.get('grpc-status-details-bin')[0];
          const details = bytes === undefined ? [] : fromBinary(StatusSchema, bytes as Buffer).details;
          resolve(`${status[error.code]} ${details.map((any) => anyUnpack(any, ErrorInfoSchema)?.reason).join('')}`);
        },
      );
    });
  };
}

const sendOverConnect: Send = async (method, body, token) => {
  const answer = await fetch(`${world.service.httpUrl}/${method.parent.typeName}/${method.name}`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      'connect-protocol-version': '1',
      'connect-timeout-ms': '10000',
      authorization: `Bearer ${token}`,
    },
    body: body as string,
  });
  const text = await answer.text();
  if (answer.ok) return 'OK';
  const error = JSON.parse(text) as { code: string; details?: { debug: { reason?: string } }[] };
  return `${error.code.toUpperCase()} ${error.details?.map(({ debug }) => debug.reason).join('')}`;
};

function residentBytes(pid: number): number {
  return 1024 * Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]);
}

test('random and damaged messages of every RPC get documented answers, never INTERNAL, and take no memory', async (t) => {
  t.timeout(900_000);
  t.log(`seed ${seed}`);
  const services = await contractServices();
  const methods = services.flatMap((service) => service.methods as DescMethodUnary[]);
  t.true(methods.length >= 15);
  const documented = documentedErrors();
  const { userId, subscriptionId, token } = await world.subscriber();
  const good: GoodValues = {
    request_id: [randomUUID(), randomUUID(), randomUUID()],
    user_id: [userId, '', randomUUID()],
    user_ids: [userId, randomUUID()],
    subscription_id: [subscriptionId, randomUUID()],
    price_id: [world.prices.basic, world.prices.premium],
    code: ['basic', 'premium'],
    currency_code: ['RUB', ''],
    page_token: [''],
    return_url: ['', 'https://shop.cinema/thanks'],
    provider: ['sandbox'],
    reason: ['', 'why not'],
  };
  const client = new Client(world.service.grpcAddress, credentials.createInsecure());
  const forms = { binary: sendOverGrpc(client), JSON: sendOverConnect };
  const seen = new Map<string, number>();
  const wrong: string[] = [];
  let answered = 0;

  async function round(method: DescMethodUnary, position: number, count: number): Promise<void> {
    const bearer = await tokenFor(method, token);
    const jobs = Array.from({ length: count * 2 }, (_, n) => n);
    const worker = async () => {
      for (let n = jobs.pop(); n !== undefined; n = jobs.pop()) {
        const dice = createDice(seed * 1_000_003 + position * 100_003 + n);
        const message = randomMessage(method.input, dice, good);
        const form = n % 2 === 0 ? 'binary' : 'JSON';
        const body = (form === 'binary' ? mutatedBinary : mutatedJson)(method.input, message, dice);
        const outcome = await forms[form](method, body, bearer);
        answered += 1;
        seen.set(outcome, (seen.get(outcome) ?? 0) + 1);
        const isKnown = outcome === 'OK' || (documented.has(outcome) && !outcome.startsWith('INTERNAL'));
        if (!isKnown) wrong.push(`${method.parent.typeName}/${method.name} ${form} ${n}: ${outcome}`);
      }
    };
    await Promise.all(Array.from({ length: atOnce }, worker));
  }

  // What is loaded and compiled at first use comes before the measure.
  for (const [position, method] of methods.entries()) await round(method, position, 10);
  const before = residentBytes(world.service.pid);
  for (const [position, method] of methods.entries()) await round(method, position, messagesPerRpcAndForm);
  const growth = residentBytes(world.service.pid) - before;
  client.close();

  t.log(Object.fromEntries([...seen].sort(([a], [b]) => a.localeCompare(b))));
  t.deepEqual(wrong.slice(0, 20), []);
  t.is(answered, methods.length * 2 * (10 + messagesPerRpcAndForm));
  t.true((seen.get('OK') ?? 0) > answered / 50, 'some messages came past the rules');
  t.true((seen.get('INVALID_ARGUMENT MALFORMED_MESSAGE') ?? 0) > answered / 50, 'some could not be decoded');
  t.true(growth < growthMaxBytes, `the service grew by ${Math.round(growth / 1024 / 1024)} MiB`);
  t.is((await fetch(`${world.service.httpUrl}/readyz`)).status, 200);
});

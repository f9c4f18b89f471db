import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import test from 'ava';
import { RefundChoice } from '@cinema-billing/gen/billing/admin/v1/subscription_admin_service_pb.ts';
import { PaymentMethodService } from '@cinema-billing/gen/billing/v1/payment_method_service_pb.ts';
import { CancelEffective } from '@cinema-billing/gen/billing/v1/subscription_service_pb.ts';
import { grpcClient } from '../cli/grpc-client.ts';
import { bareEnv } from '../testing/bare-env.ts';
import { refused } from '../testing/refused.ts';
import { waitUntil } from '../testing/wait-until.ts';
import { startWorld, type World } from '../testing/world.ts';

const program = join(import.meta.dirname, '../cli/billing.ts');
const email = 'vera.ivanova@example.test';
const ipAddress = '203.0.113.77';

let world: World;
let api: ReturnType<World['clients']>;
let support: { token: string };
let admin: { token: string };
test.before(async () => {
  world = await startWorld();
  api = world.clients();
  support = { token: await world.auth.token({ sub: 'sasha', role: 'support' }) };
  admin = { token: await world.auth.token({ sub: 'olga', role: 'admin' }) };
});
test.after.always(() => world?.stop());

const head = (validateOnly = false) => ({ requestId: randomUUID(), reason: 'asked for it', validateOnly });

/** A viewer who has paid, with an address on everything that can have one. */
async function personalViewer(): Promise<{ userId: string; subscriptionId: string }> {
  const userId = randomUUID();
  const token = await world.auth.token({ sub: 'gateway', scope: 'billing.write' });
  const consent = { textVersion: 'v1', ipAddress };
  const { subscription, checkout } = await api.subscriptions.subscribe(
    { requestId: randomUUID(), priceId: world.prices.basic, userId, email, consent },
    { token },
  );
  await world.provider.pay(checkout!.url);
  const subscriptionId = subscription!.id;
  await waitUntil('the payment activates the subscription', async () => {
    const [row] = await world.query(`select status from subscription where id = $1`, [subscriptionId]);
    return row?.['status'] === 'ACTIVE';
  });
  // The sandbox issues no receipts; this one is as YooKassa's would be.
  await world.query(
    `insert into receipt (id, attempt_id, contact, line_text, vat_code, payment_subject, payment_mode, state, created_at,
       settled_at)
     select gen_random_uuid(), id, $2, 'basic', 1, 'service', 'full_payment', 'ISSUED', created_at, settled_at
     from payment_attempt where subscription_id = $1`,
    [subscriptionId, email],
  );
  return { userId, subscriptionId };
}

const cancelNow = (subscriptionId: string) =>
  api.subscriptionAdmin.cancelSubscription(
    { ...head(), subscriptionId, effective: CancelEffective.NOW, refund: RefundChoice.NONE },
    support,
  );

/** The tables in whose rows the text stands, also as bytes. */
async function tablesWith(text: string): Promise<string[]> {
  const tables = await world.query(
    `select table_name from information_schema.tables where table_schema = 'public' order by table_name`,
  );
  const hex = Buffer.from(text).toString('hex');
  const found: string[] = [];
  for (const table of tables.map((row) => String(row['table_name']))) {
    const rows = await world.query(
      `select 1 from "${table}" r where strpos(r::text, $1) > 0 or strpos(r::text, $2) > 0 limit 1`,
      [text, hex],
    );
    if (rows.length > 0) found.push(table);
  }
  return found;
}

function billing(command: string): Promise<{ code: number; stdout: string }> {
  const env = bareEnv({
    BILLING_DATABASE_URL: world.databaseUrl,
    BILLING_NATS_URL: world.nats.url,
    BILLING_AUTH_PUBLIC_KEY: world.auth.publicKeyPem,
    BILLING_AUTH_ISSUER: world.auth.issuer,
    BILLING_AUTH_AUDIENCE: world.auth.audience,
    BILLING_SECRET: 'a secret of the tests',
    PAYMENT_PROVIDER: 'sandbox',
    SANDBOX_PAYMENT_URL: world.paymentSystem.url,
    SANDBOX_PAYMENT_API_KEY: world.paymentSystem.apiKey,
    SANDBOX_PAYMENT_WEBHOOK_SECRET: world.paymentSystem.webhookSecret,
  });
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [program, command], { env }, (_error, stdout, stderr) =>
      resolve({ code: child.exitCode ?? -1, stdout: stdout + stderr }),
    );
  });
}

test.serial('whoever has something open is not erased, and nothing of them changes', async (t) => {
  const { userId } = await personalViewer();
  t.is(
    await refused(t, api.customerAdmin.eraseCustomer({ ...head(), userId }, admin)),
    'FAILED_PRECONDITION CUSTOMER_IN_USE',
  );
  t.deepEqual(await world.query(`select email from customer_contact where user_id = $1`, [userId]), [{ email }]);
  t.is(
    await refused(t, api.customerAdmin.eraseCustomer({ ...head(), userId }, support)),
    'PERMISSION_DENIED PERMISSION_DENIED',
  );
  const nobody = api.customerAdmin.eraseCustomer({ ...head(), userId: randomUUID() }, admin);
  t.is(await refused(t, nobody), 'NOT_FOUND CUSTOMER_NOT_FOUND');
  await world.query(`delete from customer_contact where user_id = $1`, [userId]);
  await world.query(`update payment_consent set ip_address = null`);
  await world.query(`update receipt set contact = null`);
});

test.serial('an erased viewer is in no table any more, and the books agree as before', async (t) => {
  const { userId, subscriptionId } = await personalViewer();
  const [method] = await world.query(
    `select provider_method_id, provider_customer_id from payment_method where user_id = $1`,
    [userId],
  );
  const personal = [email, ipAddress, String(method!['provider_method_id']), String(method!['provider_customer_id'])];
  for (const text of personal) t.not((await tablesWith(text)).length, 0, `${text} is there before`);
  // What others did for the viewer is kept for repeats, the card in it.
  const gateway = { token: await world.auth.token({ sub: 'gateway', scope: 'billing.write' }) };
  const methodId = String((await world.query(`select id from payment_method where user_id = $1`, [userId]))[0]!['id']);
  const asked = { requestId: randomUUID(), subscriptionId, paymentMethodId: methodId };
  const paymentMethods = grpcClient(PaymentMethodService, world.service.grpcAddress);
  await paymentMethods.setDefaultPaymentMethod(asked, gateway);
  paymentMethods.close();
  await api.subscriptionAdmin.extendPeriod({ ...head(), subscriptionId, days: 1 }, support);
  // What the viewer was told shows the card: a renewal to come, published, and another one that is still on its way.
  await world.advance({ days: 27 });
  const told = () =>
    world.query(`select kind from customer_notice where user_id = $1 and strpos(body::text, '4242') > 0`, [userId]);
  t.deepEqual(await told(), [{ kind: 'renewalUpcoming' }]);
  await world.query(
    `insert into customer_notice (event_id, user_id, subscription_id, kind, body, occurred_at, published_at)
     select gen_random_uuid(), user_id, subscription_id, 'trialEnding', body, occurred_at, 'infinity'
     from customer_notice where user_id = $1`,
    [userId],
  );
  const answers = async () => {
    const rows = await world.query(
      `select caller from idempotent_request where strpos(response, $1) > 0 or strpos(response, $2) > 0 order by 1`,
      [userId, methodId],
    );
    return [...new Set(rows.map(({ caller }) => String(caller)))];
  };
  t.deepEqual(await answers(), ['operator:sasha', 'service:gateway']);
  await cancelNow(subscriptionId);
  const preview = await api.customerAdmin.eraseCustomer({ ...head(true), userId }, admin);
  t.like(preview, { contacts: 1, paymentMethods: 1, receipts: 1, consents: 1 });
  t.deepEqual(await tablesWith(email), ['customer_contact', 'receipt'], 'a preview erases nothing');

  const request = { ...head(), userId };
  const erased = await api.customerAdmin.eraseCustomer(request, admin);
  t.deepEqual(erased, preview);
  t.deepEqual(await api.customerAdmin.eraseCustomer(request, admin), erased, 'a repeat gets the one answer');
  t.like(await api.customerAdmin.eraseCustomer({ ...head(), userId }, admin), { contacts: 0, paymentMethods: 0 });
  await waitUntil('the payment system knows that the method is removed', async () => {
    const rows = await world.query(`select 1 from payment_method where next_detach_at is not null`);
    if (rows.length > 0) await world.advance({ hours: 1 });
    return rows.length === 0;
  });
  for (const text of personal) t.deepEqual(await tablesWith(text), [], text);
  t.deepEqual(await answers(), []);
  t.deepEqual(await told(), []);
  const [card] = await world.query(`select brand, last4, expiry_year from payment_method where user_id = $1`, [userId]);
  t.deepEqual(card, { brand: '', last4: '0000', expiry_year: 2000 });

  const audit = await world.query(
    `select actor_id, reason, target_kind from audit_entry where user_id = $1 and action = 'EraseCustomer'`,
    [userId],
  );
  const entry = { actor_id: 'olga', reason: 'asked for it', target_kind: 'customer' };
  t.deepEqual(audit, [entry, entry], 'one for each erasure, none for the preview and the repeat');
  const { events } = await api.customerAdmin.listCustomerHistory({ userId }, support);
  t.true(events.length > 0, 'what happened stays');
  for (const command of ['verify-ledger', 'reconcile']) {
    const { code, stdout } = await billing(command);
    t.is(code, 0, stdout);
    t.regex(stdout, /✓ Everything that was examined agrees\./);
  }
});

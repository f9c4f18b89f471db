import { randomUUID } from 'node:crypto';
import { create, fromBinary, toBinary, type DescMethod } from '@bufbuild/protobuf';
import { anyUnpack } from '@bufbuild/protobuf/wkt';
import { Client, credentials, Metadata, status } from '@grpc/grpc-js';
import test from 'ava';
import { ErrorInfoSchema } from '@cinema-billing/gen/google/rpc/error_details_pb.ts';
import { StatusSchema } from '@cinema-billing/gen/google/rpc/status_pb.ts';
import { contractServices } from './testing/contract-services.ts';
import { copySubscription, startWorld, type World } from './testing/world.ts';

/**
 * Written by hand, from what each RPC is for; never from the access rules of the contract. Columns: nobody (no token); a
 * viewer who names their own, another viewer's, and something that does not exist; services with `billing.read`,
 * `billing.write`, `billing.entitlements`; operators; and what those who are let in get for something that does not
 * exist. Cells: `in` answered, `state` found but not in a state for this, `401` TOKEN_MISSING, `403` PERMISSION_DENIED,
 * `self` USER_NOT_YOURS, `sign` WEBHOOK_SIGNATURE_INVALID, `404` NOT_FOUND.
 */
const table = `
                                                  nobody own   foreign missing read  write rights read_only support admin absent
PlanService/ListPlans                             in     in    in      in      in    in    in     in        in      in    in
PlanService/GetPlan                               in     in    in      404     in    in    in     in        in      in    404
SubscriptionService/Subscribe                     401    state self    self    403   state 403    403       403     403   in
SubscriptionService/PreviewSubscribe              401    in    self    self    in    in    403    403       403     403   404
SubscriptionService/GetSubscription               401    in    404     404     in    in    403    403       403     403   404
SubscriptionService/ListSubscriptions             401    in    self    self    in    in    403    403       403     403   in
SubscriptionService/ListSubscriptionEvents        401    in    404     404     in    in    403    403       403     403   404
SubscriptionService/CancelSubscription            401    in    404     404     403   in    403    403       403     403   404
SubscriptionService/ResumeSubscription            401    state 404     404     403   state 403    403       403     403   404
SubscriptionService/RetryPayment                  401    state 404     404     403   state 403    403       403     403   404
SubscriptionService/ChangePlan                    401    in    404     404     403   in    403    403       403     403   404
SubscriptionService/PreviewPlanChange             401    in    404     404     in    in    403    403       403     403   404
SubscriptionService/ListPayments                  401    in    self    self    in    in    403    403       403     403   in
PaymentMethodService/ListPaymentMethods           401    in    self    self    in    in    403    403       403     403   in
PaymentMethodService/StartPaymentMethodSetup      401    in    404     404     403   in    403    403       403     403   404
PaymentMethodService/SetDefaultPaymentMethod      401    in    404     404     403   in    403    403       403     403   404
PaymentMethodService/DetachPaymentMethod          401    in    404     404     403   in    403    403       403     403   404
EntitlementService/GetEntitlement                 401    403   403     403     403   403   in     403       403     403   in
EntitlementService/BatchGetEntitlements           401    403   403     403     403   403   in     403       403     403   in
EntitlementService/ListEntitlements               401    403   403     403     403   403   in     403       403     403   in
WebhookService/ReceiveWebhook                     sign   sign  sign    404     sign  sign  sign   sign      sign    sign  404
SandboxService/GetClock                           in     in    in      in      in    in    in     in        in      in    in
SandboxService/AdvanceClock                       in     in    in      in      in    in    in     in        in      in    in
SandboxService/ScriptOutcome                      in     in    in      in      in    in    in     in        in      in    in
SandboxService/ListDeliveries                     in     in    in      in      in    in    in     in        in      in    in
PlanAdminService/ListPlans                        401    403   403     403     403   403   403    in        in      in    in
PlanAdminService/GetPlan                          401    403   403     403     403   403   403    in        in      in    404
PlanAdminService/CreatePlan                       401    403   403     403     403   403   403    403       403     in    in
PlanAdminService/UpdatePlan                       401    403   403     403     403   403   403    403       403     in    404
PlanAdminService/AddPrice                         401    403   403     403     403   403   403    403       403     in    404
PlanAdminService/ArchivePlan                      401    403   403     403     403   403   403    403       403     in    404
PlanAdminService/UnarchivePlan                    401    403   403     403     403   403   403    403       403     in    404
PlanAdminService/MovePrice                        401    403   403     403     403   403   403    403       403     state 404
PlanAdminService/DeletePlan                       401    403   403     403     403   403   403    403       403     state 404
PlanAdminService/ListPromoCodes                   401    403   403     403     403   403   403    in        in      in    in
PlanAdminService/CreatePromoCode                  401    403   403     403     403   403   403    403       403     in    404
PlanAdminService/EndPromoCode                     401    403   403     403     403   403   403    403       403     in    404
CustomerAdminService/ListCustomers                401    403   403     403     403   403   403    in        in      in    in
CustomerAdminService/GetCustomer                  401    403   403     403     403   403   403    in        in      in    404
CustomerAdminService/ListCustomerHistory          401    403   403     403     403   403   403    in        in      in    404
CustomerAdminService/ExportCustomers              401    403   403     403     403   403   403    in        in      in    in
CustomerAdminService/EraseCustomer                401    403   403     403     403   403   403    403       403     state 404
SubscriptionAdminService/ListSubscriptions        401    403   403     403     403   403   403    in        in      in    in
SubscriptionAdminService/GetSubscription          401    403   403     403     403   403   403    in        in      in    404
SubscriptionAdminService/GrantSubscription        401    403   403     403     403   403   403    403       in      in    404
SubscriptionAdminService/CancelSubscription       401    403   403     403     403   403   403    403       in      in    404
SubscriptionAdminService/ResumeSubscription       401    403   403     403     403   403   403    403       state   state 404
SubscriptionAdminService/ExtendPeriod             401    403   403     403     403   403   403    403       in      in    404
SubscriptionAdminService/RetryPayment             401    403   403     403     403   403   403    403       state   state 404
SubscriptionAdminService/ChangePlan               401    403   403     403     403   403   403    403       in      in    404
SubscriptionAdminService/DetachPaymentMethod      401    403   403     403     403   403   403    403       in      in    404
PaymentAdminService/ListPayments                  401    403   403     403     403   403   403    in        in      in    in
PaymentAdminService/ListDisputes                  401    403   403     403     403   403   403    in        in      in    in
PaymentAdminService/GetPayment                    401    403   403     403     403   403   403    in        in      in    404
PaymentAdminService/ExplainPayment                401    403   403     403     403   403   403    in        in      in    404
PaymentAdminService/RefundPayment                 401    403   403     403     403   403   403    403       in      in    404
PaymentAdminService/ResolveUnknownPayment         401    403   403     403     403   403   403    403       state   state 404
PaymentAdminService/ListWebhookEvents             401    403   403     403     403   403   403    in        in      in    in
PaymentAdminService/ReplayWebhookEvent            401    403   403     403     403   403   403    403       state   state 404
PaymentAdminService/AttachOrphan                  401    403   403     403     403   403   403    403       403     state 404
OperationsService/GetMetrics                      401    403   403     403     403   403   403    in        in      in    in
OperationsService/ListAuditEntries                401    403   403     403     403   403   403    in        in      in    in
`;

/** What a call names: all of it there, or none of it. */
interface Subject {
  userId: string;
  subscriptionId: string;
  paymentMethodId: string;
  paymentId: string;
  priceId: string;
  planId: string;
  planCode: string;
  etag: string;
  provider: string;
  providerEventId: string;
  promoCodeId: string;
}

const money = { currencyCode: 'RUB', amountMinor: 100n };
const price = { amount: money, intervalUnit: 3, intervalCount: 1 };
/** What every operator's change carries; a preview goes through the same doors. */
const change = () => ({ requestId: randomUUID(), reason: 'the table of who may call', validateOnly: true });

/** A good request of each RPC about the subject. */
const requests: Record<string, (subject: Subject) => Record<string, unknown>> = {
  'PlanService/ListPlans': () => ({}),
  'PlanService/GetPlan': ({ planCode: code }) => ({ code }),
  'SubscriptionService/Subscribe': ({ userId }) => ({ requestId: randomUUID(), priceId: found.priceId, userId }),
  'SubscriptionService/PreviewSubscribe': ({ userId, priceId }) => ({ priceId, userId }),
  'SubscriptionService/GetSubscription': ({ subscriptionId }) => ({ subscriptionId }),
  'SubscriptionService/ListSubscriptions': ({ userId }) => ({ userId }),
  'SubscriptionService/ListSubscriptionEvents': ({ subscriptionId }) => ({ subscriptionId }),
  'SubscriptionService/CancelSubscription': ({ subscriptionId }) => ({ requestId: randomUUID(), subscriptionId }),
  'SubscriptionService/ResumeSubscription': ({ subscriptionId }) => ({ requestId: randomUUID(), subscriptionId }),
  'SubscriptionService/RetryPayment': ({ subscriptionId }) => ({ requestId: randomUUID(), subscriptionId }),
  'SubscriptionService/ChangePlan': ({ subscriptionId }) => ({
    requestId: randomUUID(),
    subscriptionId,
    priceId: world.prices.premium,
  }),
  'SubscriptionService/PreviewPlanChange': ({ subscriptionId }) => ({ subscriptionId, priceId: world.prices.premium }),
  'SubscriptionService/ListPayments': ({ userId }) => ({ userId }),
  'PaymentMethodService/ListPaymentMethods': ({ userId }) => ({ userId }),
  'PaymentMethodService/StartPaymentMethodSetup': ({ subscriptionId }) => ({ requestId: randomUUID(), subscriptionId }),
  'PaymentMethodService/SetDefaultPaymentMethod': ({ paymentMethodId }) => ({
    requestId: randomUUID(),
    paymentMethodId,
  }),
  'PaymentMethodService/DetachPaymentMethod': ({ paymentMethodId }) => ({ requestId: randomUUID(), paymentMethodId }),
  'EntitlementService/GetEntitlement': ({ userId }) => ({ userId }),
  'EntitlementService/BatchGetEntitlements': ({ userId }) => ({ userIds: [userId] }),
  'EntitlementService/ListEntitlements': () => ({}),
  'WebhookService/ReceiveWebhook': ({ provider }) => ({
    provider,
    payload: { contentType: 'application/json', data: new TextEncoder().encode('{}') },
  }),
  'SandboxService/GetClock': () => ({}),
  'SandboxService/AdvanceClock': () => ({ target: { case: 'by', value: { seconds: 0n, nanos: 0 } } }),
  'SandboxService/ScriptOutcome': ({ userId }) => ({ userId }),
  'SandboxService/ListDeliveries': ({ userId }) => ({ userId }),
  'PlanAdminService/ListPlans': () => ({}),
  'PlanAdminService/GetPlan': ({ planId }) => ({ planId }),
  'PlanAdminService/CreatePlan': () => ({ ...change(), code: 'new', name: 'New', features: [], prices: [price] }),
  'PlanAdminService/UpdatePlan': ({ planId, etag }) => ({
    ...change(),
    planId,
    etag,
    updateMask: { paths: ['name'] },
    name: 'Other',
  }),
  'PlanAdminService/AddPrice': ({ planId, etag }) => ({ ...change(), planId, etag, price }),
  'PlanAdminService/ArchivePlan': ({ planId, etag }) => ({ ...change(), planId, etag }),
  'PlanAdminService/UnarchivePlan': ({ planId, etag }) => ({ ...change(), planId, etag }),
  'PlanAdminService/MovePrice': ({ planId, etag, priceId }) => ({
    ...change(),
    planId,
    etag,
    fromPriceId: priceId,
    toPriceId: world.prices.premium,
  }),
  'PlanAdminService/DeletePlan': ({ planId, etag }) => ({ ...change(), planId, etag }),
  'PlanAdminService/ListPromoCodes': () => ({}),
  'PlanAdminService/CreatePromoCode': ({ planId }) => ({
    ...change(),
    code: 'NEW',
    discount: { case: 'percentOff', value: 10 },
    cycles: 1,
    planId,
  }),
  'PlanAdminService/EndPromoCode': ({ promoCodeId }) => ({ ...change(), promoCodeId }),
  'CustomerAdminService/ListCustomers': ({ userId }) => ({ query: userId }),
  'CustomerAdminService/GetCustomer': ({ userId }) => ({ userId }),
  'CustomerAdminService/ListCustomerHistory': ({ userId }) => ({ userId }),
  'CustomerAdminService/ExportCustomers': ({ userId }) => ({ search: { query: userId } }),
  'CustomerAdminService/EraseCustomer': ({ userId }) => ({ ...change(), userId }),
  'SubscriptionAdminService/ListSubscriptions': ({ userId }) => ({ userId }),
  'SubscriptionAdminService/GetSubscription': ({ subscriptionId }) => ({ subscriptionId }),
  'SubscriptionAdminService/GrantSubscription': ({ priceId }) => ({
    ...change(),
    userId: randomUUID(),
    priceId,
    days: 3,
  }),
  'SubscriptionAdminService/CancelSubscription': ({ subscriptionId }) => ({ ...change(), subscriptionId }),
  'SubscriptionAdminService/ResumeSubscription': ({ subscriptionId }) => ({ ...change(), subscriptionId }),
  'SubscriptionAdminService/ExtendPeriod': ({ subscriptionId }) => ({ ...change(), subscriptionId, days: 3 }),
  'SubscriptionAdminService/RetryPayment': ({ subscriptionId }) => ({ ...change(), subscriptionId }),
  'SubscriptionAdminService/ChangePlan': ({ subscriptionId }) => ({
    ...change(),
    subscriptionId,
    priceId: world.prices.premium,
  }),
  'SubscriptionAdminService/DetachPaymentMethod': ({ paymentMethodId }) => ({ ...change(), paymentMethodId }),
  'PaymentAdminService/ListPayments': ({ userId }) => ({ userId }),
  'PaymentAdminService/ListDisputes': ({ userId }) => ({ userId }),
  'PaymentAdminService/GetPayment': ({ paymentId }) => ({ paymentId }),
  'PaymentAdminService/ExplainPayment': ({ paymentId }) => ({ paymentId }),
  'PaymentAdminService/RefundPayment': ({ paymentId }) => ({ ...change(), paymentId, amount: money }),
  'PaymentAdminService/ResolveUnknownPayment': ({ paymentId }) => ({ ...change(), paymentId }),
  'PaymentAdminService/ListWebhookEvents': () => ({}),
  'PaymentAdminService/ReplayWebhookEvent': ({ provider, providerEventId }) => ({
    ...change(),
    provider,
    providerEventId,
  }),
  'PaymentAdminService/AttachOrphan': ({ provider, providerEventId, paymentId }) => ({
    ...change(),
    provider,
    providerEventId,
    paymentId,
    giveBack: true,
  }),
  'OperationsService/GetMetrics': () => ({}),
  'OperationsService/ListAuditEntries': ({ userId }) => ({ userId }),
};

let world: World;
let client: Client;
/** What there is, of a viewer who has paid; `own` gives each case a viewer of its own. */
let found: Subject;

test.before(async () => {
  const noLimit = Object.fromEntries(
    ['VIEWER', 'OPERATOR', 'SERVICE', 'ADDRESS'].map((name) => [`BILLING_RATE_LIMIT_${name}_PER_S`, '0']),
  );
  world = await startWorld({ env: noLimit });
  client = new Client(world.service.grpcAddress, credentials.createInsecure());
  const { userId, subscriptionId } = await world.subscriber();
  const [row] = await world.query(
    `select p.id as "paymentId", s.price_id as "priceId", s.plan_id as "planId", s.payment_method_id as "paymentMethodId",
       (select provider_event_id from webhook_event limit 1) as "providerEventId"
     from payment p join subscription s on s.id = p.subscription_id where s.id = $1`,
    [subscriptionId],
  );
  const { planAdmin } = world.clients();
  const planId = row!['planId'] as string;
  const { plan } = await planAdmin.getPlan(
    { planId },
    { token: await world.auth.token({ sub: 'olga', role: 'admin' }) },
  );
  const promoCodeId = randomUUID();
  await world.query(
    `insert into promo_code (id, code, percent_off, cycles, created_at) values ($1, 'FOUND', 10, 1, now())`,
    [promoCodeId],
  );
  planAdmin.close();
  found = {
    ...(row as unknown as Subject),
    userId,
    subscriptionId,
    planCode: 'basic',
    etag: plan!.etag,
    provider: 'sandbox',
    promoCodeId,
  };
});
test.after.always(async () => {
  client?.close();
  await world?.stop();
});

/** A subject whose viewer nobody else has touched. */
async function own(): Promise<Subject> {
  const subscriptionId = await copySubscription(world, found.subscriptionId);
  const [row] = await world.query(
    `select user_id as "userId", payment_method_id as "paymentMethodId" from subscription where id = $1`,
    [subscriptionId],
  );
  return { ...found, subscriptionId, ...(row as { userId: string; paymentMethodId: string }) };
}

function missing(): Subject {
  const [userId, subscriptionId, paymentMethodId, paymentId] = [randomUUID(), randomUUID(), randomUUID(), randomUUID()];
  const [priceId, planId, planCode, providerEventId] = [randomUUID(), randomUUID(), 'no-such-plan', 'evt_none'];
  const named = { userId, subscriptionId, paymentMethodId, paymentId, priceId, planId, planCode, providerEventId };
  return { ...named, etag: found.etag, provider: 'nobody', promoCodeId: randomUUID() };
}

interface Answer {
  cell: string;
  /** Code, message and details as they came, hexadecimal; the ids that the call named are blotted out. */
  bytes: string;
}

const cells: Record<string, string> = {
  TOKEN_MISSING: '401',
  PERMISSION_DENIED: '403',
  USER_NOT_YOURS: 'self',
  WEBHOOK_SIGNATURE_INVALID: 'sign',
  PRICE_NOT_ELIGIBLE: 'state',
};

function ask(method: DescMethod, subject: Subject, token: string | undefined): Promise<Answer> {
  const request = toBinary(method.input, create(method.input, requests[nameOf(method)]!(subject)));
  const metadata = new Metadata();
  if (token !== undefined) metadata.set('authorization', `Bearer ${token}`);
  return new Promise((resolve) => {
    client.makeUnaryRequest(
      `/${method.parent.typeName}/${method.name}`,
      (bytes: Buffer) => bytes,
      (bytes: Buffer) => bytes,
      Buffer.from(request),
      metadata,
      { deadline: Date.now() + 20_000 },
      (error) => {
        if (!error) return resolve({ cell: 'in', bytes: '' });
        const trailer = error.metadata.get('grpc-status-details-bin')[0] as Buffer | undefined;
        let details = trailer?.toString('latin1') ?? '';
        for (const id of Object.values(subject)) details = details.replaceAll(id, '?'.repeat(id.length));
        resolve({ cell: cellOf(error.code, trailer), bytes: `${error.code} ${error.details} ${details}` });
      },
    );
  });
}

function cellOf(code: number, trailer: Buffer | undefined): string {
  const details = trailer === undefined ? [] : fromBinary(StatusSchema, trailer).details;
  const reason = details.map((any) => anyUnpack(any, ErrorInfoSchema)?.reason ?? '').join('');
  if (code === status.NOT_FOUND) return '404';
  if (code === status.FAILED_PRECONDITION || code === status.ALREADY_EXISTS) return 'state';
  return cells[reason] ?? `${status[code]} ${reason}`;
}

function nameOf(method: DescMethod): string {
  return `${method.parent.name}/${method.name}`;
}

function readTable(): Map<string, Record<string, string>> {
  const [head, ...rows] = table.trim().split('\n');
  const columns = head!.trim().split(/\s+/);
  return new Map(
    rows.map((row) => {
      const [name, ...words] = row.split(/\s+/);
      if (words.length !== columns.length) throw new Error(`the row of ${name} has not ${columns.length} cells`);
      return [name!, Object.fromEntries(columns.map((column, index) => [column, words[index]!]))];
    }),
  );
}

test('each RPC answers each kind of caller as the table says; another viewer’s is byte for byte like a missing one', async (t) => {
  t.timeout(240_000);
  const expected = readTable();
  const methods = (await contractServices()).flatMap((service) => service.methods);
  const names = methods.map(nameOf);
  const untold = names.filter((name) => !expected.has(name) || requests[name] === undefined);
  const add = 'add to src/who-may-call.test.ts a row in `table` (who may call, by hand) and a request in `requests`';
  t.deepEqual(untold, [], `new RPCs: ${add}`);
  const gone = [...expected.keys()].filter((name) => !names.includes(name));
  t.deepEqual(gone, [], 'rows of RPCs that the contract no longer has');

  const token = (claims: { sub: string; role?: string; scope?: string }) => world.auth.token(claims);
  const others: Record<string, string> = {
    read: await token({ sub: 'gateway', scope: 'billing.read' }),
    write: await token({ sub: 'gateway', scope: 'billing.write' }),
    rights: await token({ sub: 'auth', scope: 'billing.entitlements' }),
    read_only: await token({ sub: 'rita', role: 'read_only' }),
    support: await token({ sub: 'sasha', role: 'support' }),
    admin: await token({ sub: 'olga', role: 'admin' }),
  };
  const wrong: unknown[] = [];
  let compared = 0;
  for (const method of methods) {
    const row = expected.get(nameOf(method))!;
    const seen: Record<string, string> = {};
    const mine = await own();
    const viewer = await token({ sub: mine.userId });
    const foreign = await ask(method, await own(), viewer);
    const absent = await ask(method, missing(), viewer);
    if (row['foreign'] === row['missing']) {
      t.is(foreign.bytes, absent.bytes, `${nameOf(method)}: another viewer’s against a missing one`);
      compared += 1;
    }
    [seen['foreign'], seen['missing']] = [foreign.cell, absent.cell];
    seen['own'] = (await ask(method, mine, viewer)).cell;
    seen['nobody'] = (await ask(method, await own(), undefined)).cell;
    for (const [who, bearer] of Object.entries(others)) {
      seen[who] = (await ask(method, await own(), bearer)).cell;
      const nothing = (await ask(method, missing(), bearer)).cell;
      // Who is not let in learns nothing about what there is.
      const told = row[who] === '403' ? '403' : row['absent'];
      if (nothing !== told) wrong.push([nameOf(method), `${who}, for a missing one`, nothing, `expected ${told}`]);
    }
    for (const [who, cell] of Object.entries(seen)) {
      if (cell !== row[who]) wrong.push([nameOf(method), who, cell, `expected ${row[who]}`]);
    }
  }
  t.deepEqual(wrong, []);
  t.true(compared > 30);
});

import { randomUUID } from 'node:crypto';
import { create, toBinary, type DescMethodUnary } from '@bufbuild/protobuf';
import { Client, credentials, Metadata } from '@grpc/grpc-js';
import test from 'ava';
import { CancelEffective } from '@cinema-billing/gen/billing/v1/subscription_service_pb.ts';
import { IntervalUnit } from '@cinema-billing/gen/billing/v1/plan_pb.ts';
import { contractServices } from './testing/contract-services.ts';
import { forgetPayment } from './testing/forget-payment.ts';
import { merchantOf } from './testing/payment-system-merchant.ts';
import { waitUntil } from './testing/wait-until.ts';
import { startWorld, type World } from './testing/world.ts';

/** One command: the request without its id, and who sends it. */
interface Command {
  readonly body: Record<string, unknown>;
  readonly token: string;
}

/** The card of a viewer whose renewals are declined for now. */
const softLater = '4000000000000341';
const reason = 'the viewer called';

let world: World;
let api: ReturnType<World['clients']>;
let admin: string;
test.before(async () => {
  world = await startWorld();
  api = world.clients();
  admin = await world.auth.token({ sub: 'olga', role: 'admin' });
});
test.after.always(() => world?.stop());

const idOf = async (text: string, ...values: unknown[]) => String((await world.query(text, values))[0]!['id']);
const methodOf = (userId: string) => idOf(`select id from payment_method where user_id = $1`, userId);
const paymentOf = (subscriptionId: string) => idOf(`select id from payment where subscription_id = $1`, subscriptionId);

/** A command of a viewer about a subscription that nothing else is about. */
async function ofViewer(
  bodyOf: (viewer: { userId: string; subscriptionId: string }) => object | Promise<object>,
): Promise<Command> {
  const viewer = await world.subscriber();
  // A notice that is still worked off would settle, or put away, what the command is about.
  await waitUntil('the notices of the payment are worked off', async () => {
    const notices = await world.query(
      `select e.state from webhook_event e join payment_attempt a using (provider_payment_id) where a.subscription_id = $1`,
      [viewer.subscriptionId],
    );
    return notices.length > 0 && notices.every(({ state }) => state !== 'RECEIVED');
  });
  return { body: { ...(await bodyOf(viewer)) }, token: viewer.token };
}

/** The same of an operator. */
async function ofOperator(bodyOf: Parameters<typeof ofViewer>[0]): Promise<Command> {
  const { body } = await ofViewer(bodyOf);
  return { body: { ...body, reason }, token: admin };
}

const price = (amountMinor: bigint) => ({
  amount: { currencyCode: 'RUB', amountMinor },
  intervalUnit: IntervalUnit.MONTH,
  intervalCount: 1,
});
const newPlan = (code: string) => ({
  code,
  name: code,
  productLine: code,
  features: ['a.b'],
  prices: [price(10_000n)],
});

/** A command about a plan of its own. */
async function ofPlan(code: string, more: object = {}): Promise<Command & { prices: string[] }> {
  const { plan } = await api.planAdmin.createPlan(
    { ...newPlan(code), requestId: randomUUID(), reason },
    { token: admin },
  );
  const prices = plan!.plan!.prices.map(({ id }) => id);
  return { body: { planId: plan!.plan!.id, etag: plan!.etag, reason, ...more }, token: admin, prices };
}

async function ofMovedPrice(): Promise<Command> {
  const { body, prices } = await ofPlan('move');
  const add = { planId: String(body['planId']), etag: String(body['etag']), price: price(20_000n) };
  const { plan } = await api.planAdmin.addPrice({ ...add, requestId: randomUUID(), reason }, { token: admin });
  const added = plan!.plan!.prices.find(({ id }) => !prices.includes(id))!.id;
  return { body: { ...body, etag: plan!.etag, fromPriceId: prices[0], toPriceId: added }, token: admin };
}

const newPromoCode = (code: string) => ({ code, discount: { case: 'percentOff' as const, value: 10 }, cycles: 1 });

async function ofPromoCode(): Promise<Command> {
  const { promoCode } = await api.planAdmin.createPromoCode(
    { ...newPromoCode('ENDED'), requestId: randomUUID(), reason },
    { token: admin },
  );
  return { body: { promoCodeId: promoCode!.id, reason }, token: admin };
}

async function ofArchivedPlan(): Promise<Command> {
  const { body } = await ofPlan('unarchive');
  const archive = { planId: String(body['planId']), etag: String(body['etag']), requestId: randomUUID(), reason };
  const { plan } = await api.planAdmin.archivePlan(archive, { token: admin });
  return { body: { ...body, etag: plan!.etag }, token: admin };
}

/** Somebody who has nothing any more but an address. */
async function ofFormerViewer(): Promise<Command> {
  const userId = randomUUID();
  await world.query(`insert into customer values ($1, now())`, [userId]);
  await world.query(`insert into customer_contact (user_id, email, updated_at) values ($1, 'a@example.com', now())`, [
    userId,
  ]);
  return { body: { userId, reason }, token: admin };
}

const ending = ({ subscriptionId }: { subscriptionId: string }) => ({
  subscriptionId,
  effective: CancelEffective.AT_PERIOD_END,
});
const canceled = async ({ subscriptionId }: { subscriptionId: string }) => {
  const cancel = { ...ending({ subscriptionId }), requestId: randomUUID(), reason };
  await api.subscriptionAdmin.cancelSubscription(cancel, { token: admin });
  return { subscriptionId };
};

/** The service is told to forget what it knew of a payment; the payment system has the money. */
async function forgotten({ subscriptionId }: { subscriptionId: string }): Promise<object> {
  const paymentId = await paymentOf(subscriptionId);
  await forgetPayment(world.query, paymentId);
  return { paymentId };
}

async function setAside({ subscriptionId }: { subscriptionId: string }): Promise<object> {
  const providerEventId = await idOf(
    `update webhook_event e set state = 'QUARANTINED', next_try_at = null from payment_attempt a
       where a.subscription_id = $1 and e.provider_payment_id = a.provider_payment_id
       returning e.provider_event_id as id`,
    subscriptionId,
  );
  return { provider: 'sandbox', providerEventId };
}

/** Money that the payment system took without a call of ours. */
async function orphaned({ subscriptionId }: { subscriptionId: string }): Promise<object> {
  const { id: money } = await merchantOf(() => world.paymentSystem).saveCard();
  const providerEventId = `evt_${randomUUID()}`;
  await world.query(
    `insert into webhook_event (provider, provider_event_id, type, payload, provider_payment_id, state, received_at)
       values ('sandbox', $1, 'payment.succeeded', '', $2, 'ORPHAN', business_now())`,
    [providerEventId, money],
  );
  return { provider: 'sandbox', providerEventId, paymentId: await paymentOf(subscriptionId), giveBack: true };
}

/** Every command of the contract that takes a request id. */
async function commands(late: { subscriptionId: string; token: string }[]): Promise<Record<string, Command>> {
  const { basic, premium } = world.prices;
  const upgrade = ({ subscriptionId }: { subscriptionId: string }) => ({ subscriptionId, priceId: premium });
  const method = async ({ userId }: { userId: string }) => ({ paymentMethodId: await methodOf(userId) });
  const newViewer = { body: { priceId: basic }, token: await world.auth.token({ sub: randomUUID() }) };
  const ofLate = (n: number, more: object = {}) => ({ subscriptionId: late[n]!.subscriptionId, ...more });
  return {
    'billing.v1.SubscriptionService/Subscribe': newViewer,
    'billing.v1.SubscriptionService/CancelSubscription': await ofViewer(ending),
    'billing.v1.SubscriptionService/ResumeSubscription': await ofViewer(canceled),
    'billing.v1.SubscriptionService/RetryPayment': { body: ofLate(0), token: late[0]!.token },
    'billing.v1.SubscriptionService/ChangePlan': await ofViewer(upgrade),
    'billing.v1.PaymentMethodService/StartPaymentMethodSetup': await ofViewer(({ subscriptionId }) => ({
      subscriptionId,
    })),
    'billing.v1.PaymentMethodService/SetDefaultPaymentMethod': await ofViewer(method),
    'billing.v1.PaymentMethodService/DetachPaymentMethod': await ofViewer(method),
    'billing.admin.v1.PlanAdminService/CreatePlan': { body: { ...newPlan('created'), reason }, token: admin },
    'billing.admin.v1.PlanAdminService/UpdatePlan': await ofPlan('update', {
      name: 'New',
      updateMask: { paths: ['name'] },
    }),
    'billing.admin.v1.PlanAdminService/AddPrice': await ofPlan('add', { price: price(20_000n) }),
    'billing.admin.v1.PlanAdminService/MovePrice': await ofMovedPrice(),
    'billing.admin.v1.PlanAdminService/ArchivePlan': await ofPlan('archive'),
    'billing.admin.v1.PlanAdminService/UnarchivePlan': await ofArchivedPlan(),
    'billing.admin.v1.PlanAdminService/DeletePlan': await ofPlan('delete'),
    'billing.admin.v1.PlanAdminService/CreatePromoCode': { body: { ...newPromoCode('CREATED'), reason }, token: admin },
    'billing.admin.v1.PlanAdminService/EndPromoCode': await ofPromoCode(),
    'billing.admin.v1.CustomerAdminService/EraseCustomer': await ofFormerViewer(),
    'billing.admin.v1.PaymentAdminService/RefundPayment': await ofOperator(async ({ subscriptionId }) => ({
      paymentId: await paymentOf(subscriptionId),
      amount: { currencyCode: 'RUB', amountMinor: 100n },
    })),
    'billing.admin.v1.PaymentAdminService/ResolveUnknownPayment': await ofOperator(forgotten),
    'billing.admin.v1.PaymentAdminService/ReplayWebhookEvent': await ofOperator(setAside),
    'billing.admin.v1.PaymentAdminService/AttachOrphan': await ofOperator(orphaned),
    'billing.admin.v1.SubscriptionAdminService/GrantSubscription': {
      body: { userId: randomUUID(), priceId: basic, days: 3, reason },
      token: admin,
    },
    'billing.admin.v1.SubscriptionAdminService/CancelSubscription': await ofOperator(ending),
    'billing.admin.v1.SubscriptionAdminService/ResumeSubscription': await ofOperator(canceled),
    'billing.admin.v1.SubscriptionAdminService/ExtendPeriod': await ofOperator(({ subscriptionId }) => ({
      subscriptionId,
      days: 3,
    })),
    'billing.admin.v1.SubscriptionAdminService/RetryPayment': { body: ofLate(1, { reason }), token: admin },
    'billing.admin.v1.SubscriptionAdminService/ChangePlan': await ofOperator(upgrade),
    'billing.admin.v1.SubscriptionAdminService/DetachPaymentMethod': await ofOperator(method),
  };
}

/** The answer as it is on the wire. */
function send(
  client: Client,
  method: DescMethodUnary,
  request: Record<string, unknown>,
  token: string,
): Promise<string> {
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${token}`);
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      `/${method.parent.typeName}/${method.name}`,
      (message: Record<string, unknown>) => Buffer.from(toBinary(method.input, create(method.input, message))),
      (bytes: Buffer) => bytes.toString('latin1'),
      request,
      metadata,
      { deadline: Date.now() + 20_000 },
      (error, bytes) => (error ? reject(new Error(`${method.name}: ${error.message}`)) : resolve(bytes!)),
    );
  });
}

/** Cards, plans, payments and what is set up are others, and for every subscription other periods have begun. */
async function changeEverything(): Promise<void> {
  await world.query(`update payment_method set last4 = '0007', brand = 'other'`);
  await world.query(`update plan set name = name || ' II', features = array['other.feature']`);
  await world.query(`update payment set created_at = created_at - interval '1 hour'`);
  await world.query(`update customer_contact set email = 'b@example.com'`);
  await world.advance({ days: 62 });
}

test('every command with a request id is answered byte for byte as at first, whatever has changed since', async (t) => {
  t.timeout(240_000);
  const late = [await world.subscriber(softLater), await world.subscriber(softLater)];
  await world.advance({ days: 32 });
  const all = await commands(late);
  const methods = (await contractServices())
    .flatMap((service) => service.methods as DescMethodUnary[])
    .filter(({ input }) => input.fields.some(({ name }) => name === 'request_id'));
  const nameOf = (method: DescMethodUnary) => `${method.parent.typeName}/${method.name}`;
  t.deepEqual(methods.map(nameOf).toSorted(), Object.keys(all).toSorted(), 'each is here');

  const client = new Client(world.service.grpcAddress, credentials.createInsecure());
  const requests = methods.map((method) => ({ ...all[nameOf(method)]!, method, requestId: randomUUID() }));
  const answerTo = ({ method, requestId, body, token }: (typeof requests)[number]) =>
    send(client, method, { ...body, requestId }, token);
  const first: string[] = [];
  for (const request of requests) first.push(await answerTo(request));
  // With the field's length before it: ids are random, and have such digits now and then.
  const showsCard = (bytes: string) => bytes.includes('\x040341') || bytes.includes('\x044242');
  t.is(first.filter(showsCard).length, 5, 'five commands of an operator show the card');
  await changeEverything();
  for (const [index, request] of requests.entries()) {
    t.is(await answerTo(request), first[index]!, nameOf(request.method));
  }
  client.close();
});

import { randomUUID } from 'node:crypto';
import test from 'ava';
import { Client } from 'pg';
import type { Browser } from 'playwright-core';
import { AttemptState, PaymentAdminService } from '@cinema-billing/gen/billing/admin/v1/payment_admin_service_pb.ts';
import { PlanAdminService } from '@cinema-billing/gen/billing/admin/v1/plan_admin_service_pb.ts';
import { SubscriptionAdminService } from '@cinema-billing/gen/billing/admin/v1/subscription_admin_service_pb.ts';
import { SandboxService } from '@cinema-billing/gen/billing/sandbox/v1/sandbox_service_pb.ts';
import { IntervalUnit } from '@cinema-billing/gen/billing/v1/plan_pb.ts';
import { PlanService } from '@cinema-billing/gen/billing/v1/plan_service_pb.ts';
import { SubscriptionStatus } from '@cinema-billing/gen/billing/v1/subscription_pb.ts';
import { SubscriptionService } from '@cinema-billing/gen/billing/v1/subscription_service_pb.ts';
import { grpcClient } from '../cli/grpc-client.ts';
import { startLocalSystem, type LocalSystem } from '../testing/local-system.ts';
import { forgetPayment } from '../testing/forget-payment.ts';
import { openBrowser, seen, signIn, type Panel } from '../testing/panel.ts';
import { waitUntil } from '../testing/wait-until.ts';

/** Of the demo data: a monthly standard at 599 roubles, a yearly premium that ends, a basic that was cancelled. */
const [monthly, , canceled] = [1, 2, 3].map((n) => `00000000-0000-4000-8000-00000000000${n}`) as [
  string,
  string,
  string,
];
const tabsMax = 80;

/** Runs in the page. */
const nameOfFocused = `(() => {
  const { labels, ariaLabel, innerText } = document.activeElement ?? {};
  return (labels?.[0]?.innerText ?? ariaLabel ?? innerText ?? '').trim();
})()`;

let system: LocalSystem;
let browser: Browser;
let sql: Client;
let token: string;

test.before(async () => {
  system = await startLocalSystem();
  browser = await openBrowser();
  sql = new Client({ connectionString: system.databaseUrl });
  await sql.connect();
  token = await issueToken({ sub: 'reader', role: 'read_only' });
});
test.after.always(async () => {
  await sql?.end();
  await browser?.close();
  await system?.stop();
});

async function issueToken(request: object): Promise<string> {
  const response = await fetch(`${system.authUrl}/tokens`, { method: 'POST', body: JSON.stringify(request) });
  return ((await response.json()) as { token: string }).token;
}

/** A browser says of every refusal that a resource failed; of these two calls it is what their tests are about. */
const complaints = () =>
  seen.complaints.filter((complaint) => !/\/(EraseCustomer|AttachOrphan): .* 400 /.test(complaint));

async function row(text: string, ...values: unknown[]): Promise<Record<string, unknown>> {
  return (await sql.query(text, values)).rows[0] as Record<string, unknown>;
}

async function subscriptionOf(userId: string) {
  const client = grpcClient(SubscriptionAdminService, system.grpcAddress);
  try {
    return (await client.listSubscriptions({ userId }, { token })).subscriptions[0]!;
  } finally {
    client.close();
  }
}

/** Tabs on until the focus is on what is called so; nothing is clicked. */
async function tabTo(panel: Panel, name: string | RegExp): Promise<void> {
  const isIt = (text: string) => (typeof name === 'string' ? text === name : name.test(text));
  const passed: string[] = [];
  for (let tabs = 0; tabs < tabsMax; tabs++) {
    await panel.page.keyboard.press('Tab');
    const text = await panel.page.evaluate<string>(nameOfFocused);
    if (isIt(text)) return;
    passed.push(text);
  }
  throw new Error(`${String(name)} is not reached by Tab; passed ${passed.join(' | ')}`);
}

/** In an open dialog, whose reason has the focus. */
async function giveReasonByKeyboard(panel: Panel, reason: string, button: string): Promise<void> {
  const { page } = panel;
  await page
    .getByRole('dialog')
    .getByLabel(/^Reason/)
    .and(page.locator(':focus'))
    .waitFor();
  await page.keyboard.type(reason);
  await page
    .getByRole('dialog')
    .getByRole('button', { name: button, exact: true })
    .and(page.locator(':enabled'))
    .waitFor();
  await tabTo(panel, button);
  await page.keyboard.press('Enter');
  await page.getByRole('dialog').waitFor({ state: 'detached' });
}

test.serial('the overview’s figures are those of three viewers, added up by hand', async (t) => {
  const panel = await signIn(browser, system.httpUrl, 'viktor');
  await panel.open('/');
  const figure = (label: string) =>
    panel.page
      .locator('section.card')
      .filter({ hasText: new RegExp(`^${label}`) })
      .locator('.price')
      .innerText();
  // 599 a month; the yearly subscription ends, and the third viewer has gone.
  t.is(await figure('Monthly revenue'), '₽599');
  t.is(await figure('Active'), '2');
  // 599 + 9,990 + 299, all of it today.
  const { charged } = await row(`select sum(amount_minor)::text as charged from journal_fact where kind = 'CHARGED'`);
  t.is(charged, '1088800');
  await panel.page.getByText('₽10,888').first().waitFor();
  await panel.close();
});

test.serial('by keyboard alone, a user is found and cancelled', async (t) => {
  const panel = await signIn(browser, system.httpUrl, 'sofia');
  const { page } = panel;
  await tabTo(panel, 'Users');
  await page.keyboard.press('Enter');
  await page.getByLabel(/^Id of user/).waitFor();
  await tabTo(panel, /^Id of user/);
  await page.keyboard.type(monthly);
  await page.getByText(canceled).waitFor({ state: 'detached' });
  await tabTo(panel, monthly);
  await page.keyboard.press('Enter');
  await page.getByTestId('access').waitFor();
  await page.getByRole('button', { name: 'Cancel at the end' }).waitFor();
  await tabTo(panel, 'Cancel at the end');
  await page.keyboard.press('Enter');
  await giveReasonByKeyboard(panel, 'goes abroad', 'Cancel at the end');
  const { subscription } = await subscriptionOf(monthly);
  t.true(subscription!.cancelAtPeriodEnd);
  await page.getByRole('button', { name: 'Resume' }).and(page.locator(':enabled')).waitFor();
  await tabTo(panel, 'Resume');
  await page.keyboard.press('Enter');
  await giveReasonByKeyboard(panel, 'stays', 'Resume');
  t.false((await subscriptionOf(monthly)).subscription!.cancelAtPeriodEnd);
  await panel.close();
});

test.serial('by keyboard alone, a plan is created', async (t) => {
  const panel = await signIn(browser, system.httpUrl, 'anna');
  const { page } = panel;
  await tabTo(panel, 'Plans');
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'New plan' }).waitFor();
  await tabTo(panel, 'New plan');
  await page.keyboard.press('Enter');
  await page.getByRole('dialog').waitFor();
  const fields = [
    [/^Code/, 'night'],
    [/^Name/, 'Night'],
    [/^Features/, 'catalog.night'],
    [/^Amount/, '99'],
    [/^Reason/, 'asked for'],
  ] as const;
  for (const [label, text] of fields) {
    await tabTo(panel, label);
    await page.keyboard.type(text);
  }
  await page.getByRole('dialog').getByRole('button', { name: 'New plan' }).and(page.locator(':enabled')).waitFor();
  await tabTo(panel, 'New plan');
  await page.keyboard.press('Enter');
  await page.waitForURL(/plans\/[0-9a-f-]{36}$/);
  const client = grpcClient(PlanAdminService, system.grpcAddress);
  const { plans } = await client.listPlans({}, { token });
  client.close();
  const made = plans.map(({ plan }) => plan!).find(({ code }) => code === 'night');
  t.deepEqual([made?.features, made?.prices[0]?.amount?.amountMinor], [['catalog.night'], 9_900n]);
  await panel.close();
});

test.serial('by keyboard alone, an unknown payment is resolved by what the payment system says', async (t) => {
  const { id: paymentId } = await row(`select id from payment where user_id = $1`, monthly);
  await forgetPayment((text, values) => sql.query(text, values), String(paymentId));
  const panel = await signIn(browser, system.httpUrl, 'sofia');
  const { page } = panel;
  await page.getByText(/with an unknown outcome/).waitFor();
  await tabTo(panel, /with an unknown outcome/);
  await page.keyboard.press('Enter');
  await page.waitForURL(/queue=unknown/);
  await page.getByText('00000000…0001').waitFor();
  await tabTo(panel, /^\d.+20\d\d.+\d\d:\d\d/);
  await page.keyboard.press('Enter');
  await page.waitForURL(/payments\/[0-9a-f-]{36}$/);
  await page.getByRole('button', { name: 'Ask the payment system' }).waitFor();
  await tabTo(panel, 'Ask the payment system');
  await page.keyboard.press('Enter');
  await giveReasonByKeyboard(panel, 'it hangs', 'Ask the payment system');
  const client = grpcClient(PaymentAdminService, system.grpcAddress);
  const { payment } = await client.getPayment({ paymentId: String(paymentId) }, { token });
  client.close();
  t.deepEqual(
    payment!.attempts.map(({ state }) => state),
    [AttemptState.SUCCEEDED],
  );
  await panel.close();
});

test.serial('a notice that was set aside is worked off again', async (t) => {
  const set = await row(`update webhook_event set state = 'QUARANTINED', note = 'planted', next_try_at = null
    where (provider, provider_event_id) = (select provider, provider_event_id from webhook_event
      where state = 'PROCESSED' limit 1) returning provider_event_id as id`);
  const panel = await signIn(browser, system.httpUrl, 'sofia');
  await panel.open('/payments?queue=quarantine');
  await panel.page.getByText('planted').waitFor();
  await panel.press('Work off again');
  await panel.confirm('Work off again', 'mended');
  const state = () => row(`select state from webhook_event where provider_event_id = $1`, set['id']);
  await waitUntil('it is worked off', async () => (await state())['state'] === 'PROCESSED');
  t.deepEqual(complaints(), []);
  await panel.close();
});

test.serial(
  'orphaned money is given back from its queue, by an administrator only; a hostile id is none',
  async (t) => {
    const method = await row(
      `select provider_customer_id, provider_method_id, (select id from payment p where p.user_id = m.user_id limit 1) as id
     from payment_method m where user_id = $1`,
      monthly,
    );
    const money = (await system.tellPaymentSystem('/v1/charges', {
      amount_minor: '77700',
      currency: 'RUB',
      reference: 'by-hand',
      customer: method['provider_customer_id'],
      payment_method: method['provider_method_id'],
      description: 'taken by hand',
    })) as { id: string };
    await waitUntil('its notice is here', async () => {
      const orphaned = await row(
        `update webhook_event set state = 'ORPHAN', next_try_at = null where provider_payment_id = $1 returning state`,
        money.id,
      );
      return orphaned !== undefined;
    });
    const support = await signIn(browser, system.httpUrl, 'sofia');
    await support.open('/payments?queue=orphan');
    await support.page.getByText(money.id).waitFor();
    t.true(await support.page.getByRole('button', { name: 'Say whose it is' }).isDisabled());
    await support.close();
    const panel = await signIn(browser, system.httpUrl, 'anna');
    await panel.open('/payments?queue=orphan');
    await panel.press('Say whose it is');
    const field = panel.page.getByLabel('Payment', { exact: true });
    await field.fill('"><img src=x onerror=alert(1)>');
    await panel.page.getByText('Not an id of a payment').waitFor();
    await field.fill(String(method['id']));
    await panel.page.getByText('ORPHAN_PAYS_NOTHING').waitFor();
    await panel.page.getByLabel('Give it back instead').check();
    await panel.page.getByText(/777(\.00)? goes back to whoever paid it\.$/).waitFor();
    await panel.confirm('Give the money back', 'taken by mistake');
    await waitUntil('the payment system has given it back', async () => {
      const payment = (await system.ledger(`/v1/payments/${money.id}`)) as { refunded_minor: string };
      return payment.refunded_minor === '77700';
    });
    const refused = complaints().filter((complaint) => !/\/AttachOrphan: .* 400 /.test(complaint));
    t.deepEqual(refused, []);
    await panel.close();
  },
);

test.serial('an administrator erases who a viewer is, where nothing is open; nobody else may', async (t) => {
  const support = await signIn(browser, system.httpUrl, 'sofia');
  await support.open(`/users/${canceled}`);
  t.true(await support.page.getByRole('button', { name: 'Erase personal data' }).isDisabled());
  await support.close();
  await sql.query(
    `insert into customer_contact (user_id, email, updated_at) values ('${canceled}', 'gone@example.test', now())`,
  );
  const panel = await signIn(browser, system.httpUrl, 'anna');
  await panel.open(`/users/${monthly}`);
  await panel.press('Erase personal data');
  await panel.page.getByText(/^Something is open still/).waitFor();
  await panel.open(`/users/${canceled}`);
  await panel.press('Erase personal data');
  await panel.page.getByText(/For good go: 1 e-mail, 1 card, /).waitFor();
  const kept = async () =>
    row(
      `select (select count(*)::int from customer_contact where user_id = $1) as contacts,
        (select count(*)::int from payment_method where user_id = $1 and last4 <> '0000') as cards,
        (select count(*)::int from payment where user_id = $1) as payments`,
      canceled,
    );
  t.like(await kept(), { contacts: 1, payments: 1 });
  await panel.confirm('Erase personal data', 'asked for by letter');
  t.deepEqual(await kept(), { contacts: 0, cards: 0, payments: 1 });
  await panel.page.getByText('asked for by letter').waitFor();
  t.deepEqual(complaints(), []);
  await panel.close();
});

test.serial(
  'a promo code is made, takes off what the preview said, and is redeemed by nobody once it is ended',
  async (t) => {
    const panel = await signIn(browser, system.httpUrl, 'anna');
    await panel.open('/promo-codes');
    await panel.press('New promo code');
    await panel.fill(/^Promo code/, 'spring25');
    await panel.fill('Percent off', '25');
    await panel.fill('Payments made cheaper', '2');
    await panel.page.getByText('SPRING25: 25 % off 2 payments').waitFor();
    await panel.confirm('New promo code', 'spring campaign');
    const subscriptions = grpcClient(SubscriptionService, system.grpcAddress);
    const planAdmin = grpcClient(PlanAdminService, system.grpcAddress);
    const [made] = (await planAdmin.listPromoCodes({}, { token })).promoCodes;
    t.like(made, { code: 'SPRING25', cycles: 2, redemptionsMax: 0, discount: { case: 'percentOff', value: 25 } });
    const { price_id: priceId } = await row(`select price_id from subscription where user_id = $1`, monthly);
    const asked = { priceId: priceId as string, promoCode: 'spring25' };
    const viewer = { token: await issueToken({ sub: randomUUID() }) };
    // 599.00 less a quarter.
    t.is((await subscriptions.previewSubscribe(asked, viewer)).due!.amountMinor, 44_925n);

    await panel.press('End: SPRING25');
    await panel.confirm('End', 'spring is over');
    await panel.page.getByText(/^until /).waitFor();
    const error = await t.throwsAsync(subscriptions.previewSubscribe(asked, viewer));
    t.regex(error!.message, /PROMO_CODE_NOT_APPLICABLE/);
    const entries = await sql.query(`select action, reason from audit_entry where target_id = $1 order by id`, [
      made!.id,
    ]);
    t.deepEqual(entries.rows, [
      { action: 'CreatePromoCode', reason: 'spring campaign' },
      { action: 'EndPromoCode', reason: 'spring is over' },
    ]);
    subscriptions.close();
    planAdmin.close();
    await panel.close();
  },
);

test.serial('a plan is given; Auth grants it until the day that was previewed', async (t) => {
  const panel = await signIn(browser, system.httpUrl, 'sofia');
  await panel.open(`/users/${canceled}`);
  await panel.press('Give a plan');
  await panel.page
    .getByRole('dialog')
    .getByLabel(/^Plan and price/)
    .click();
  await panel.page.getByRole('option', { name: /^Premium · .+ a month/ }).click();
  await panel.page.getByText(/The period then ends on/).waitFor();
  await panel.confirm('Give a plan', 'a present');
  const { subscription, complimentary } = await subscriptionOf(canceled);
  t.true(complimentary);
  const rights = await waitUntil('Auth knows', async () => {
    const user = (await (await fetch(`${system.authUrl}/users/${canceled}`)).json()) as {
      features: string[];
      grants: { access_until: string }[];
    };
    return user.features.length > 0 && user;
  });
  const end = Number(subscription!.currentPeriodEnd!.seconds);
  t.is(Math.floor(Date.parse(rights.grants[0]!.access_until) / 1_000), end);
  const days = (end - Number(subscription!.currentPeriodStart!.seconds)) / 86_400;
  t.is(days, 7);
  await panel.close();
});

test.serial('subscribers are moved to a dearer price as the preview said, and are told when it applies', async (t) => {
  const planAdmin = grpcClient(PlanAdminService, system.grpcAddress);
  const before = await row(
    `select s.id, s.plan_id, s.price_id from subscription s where user_id = $1 and ended_at is null`,
    monthly,
  );
  const admin = { token: await issueToken({ sub: 'anna', role: 'admin' }) };
  const { plan } = await planAdmin.getPlan({ planId: before['plan_id'] as string }, admin);
  const { priceId } = await planAdmin.addPrice(
    {
      requestId: randomUUID(),
      reason: 'dearer films',
      planId: plan!.plan!.id,
      etag: plan!.etag,
      price: {
        amount: { currencyCode: 'RUB', amountMinor: 69_900n },
        intervalUnit: IntervalUnit.MONTH,
        intervalCount: 1,
      },
    },
    admin,
  );
  planAdmin.close();
  const panel = await signIn(browser, system.httpUrl, 'anna');
  await panel.open(`/plans/${plan!.plan!.id}`);
  await panel.press('Move subscribers: ₽599 a month');
  await panel.page.getByText(/^1 subscriber is told now\. .* 1 of them at their next one/).waitFor();
  await panel.confirm('Move subscribers', 'licences cost more');
  const announced = await waitUntil('the subscriber is told', async () => {
    const { subscription } = await subscriptionOf(monthly);
    return subscription!.announcedPriceId === priceId && subscription!;
  });
  // Seven days after the call, by the business clock.
  const told = await row(`select occurred_at from subscription_event where kind = 'PRICE_CHANGE_ANNOUNCED'`);
  const toldAtS = Math.floor((told['occurred_at'] as Date).getTime() / 1_000);
  const noticeS = Number(announced.announcedPriceFrom!.seconds) - toldAtS;
  t.true(Math.abs(noticeS - 7 * 86_400) <= 60, `${noticeS} s`);
  await panel.close();
});

test.serial(
  'a dispute that the payment system tells of is on the overview, in its queue and with its payment',
  async (t) => {
    const charge = await row(
      `select a.provider_payment_id as id, a.payment_id from payment_attempt a join subscription s on s.id = a.subscription_id
     where s.user_id = $1 and a.state = 'SUCCEEDED' limit 1`,
      canceled,
    );
    await system.tellPaymentSystem('/v1/disputes', { payment: charge['id'] });
    await waitUntil('billing knows', async () => (await row(`select count(*)::int as n from dispute`))['n'] === 1);
    const panel = await signIn(browser, system.httpUrl, 'sofia');
    await panel.open('/');
    await panel.page.getByRole('link', { name: 'open disputes' }).click();
    await panel.page
      .getByText('sandbox dis_')
      .or(panel.page.getByText(/sandbox/))
      .first()
      .waitFor();
    await panel.page.locator('section.card').getByRole('link', { name: '₽299' }).click();
    await panel.page.waitForURL(new RegExp(`/payments/${String(charge['payment_id'])}$`));
    const card = panel.page.locator('section.card').filter({ hasText: /^Disputes/ });
    t.regex(await card.innerText(), /₽299\s+open/);
    await panel.close();
  },
);

test.serial('a removed card is forgotten by the payment system, and access ends with the period', async (t) => {
  const method = await row(`select provider_method_id as id from payment_method where user_id = $1`, monthly);
  const panel = await signIn(browser, system.httpUrl, 'sofia');
  await panel.open(`/users/${monthly}`);
  await panel.press('Remove the card');
  await panel.confirm('Remove the card', 'it was stolen');
  await waitUntil('the payment system forgot it', async () => {
    const answer = (await system.ledger(`/v1/payment_methods/${String(method['id'])}`)) as { detached?: boolean };
    return answer.detached;
  });
  const left = await row(
    `select next_charge_at, payment_method_id, status from subscription where user_id = $1`,
    monthly,
  );
  t.deepEqual(left, { next_charge_at: null, payment_method_id: null, status: 'ACTIVE' });
  t.deepEqual(complaints(), []);
  await panel.close();
});

test.serial('a failed renewal is charged again at once, and the payment system has the attempt', async (t) => {
  const userId = '00000000-0000-4000-8000-000000000009';
  const plans = grpcClient(PlanService, system.grpcAddress);
  const subscriptions = grpcClient(SubscriptionService, system.grpcAddress);
  const sandbox = grpcClient(SandboxService, system.grpcAddress);
  const tokenOfViewer = await issueToken({ sub: userId });
  const { plans: onSale } = await plans.listPlans({ currencyCode: 'RUB' });
  const price = onSale
    .find(({ code }) => code === 'basic')!
    .prices.find(({ intervalUnit }) => intervalUnit === IntervalUnit.MONTH)!;
  const asked = { requestId: randomUUID(), priceId: price.id };
  const { checkout } = await subscriptions.subscribe(asked, { token: tokenOfViewer });
  // Pays once; has no money from then on.
  const card = new URLSearchParams({ card: '4000000000000341', action: 'pay' });
  await fetch(checkout!.url, { method: 'POST', body: card, redirect: 'manual' });
  const status = async () => (await subscriptionOf(userId)).subscription!.status;
  await waitUntil('it is paid', async () => (await status()) === SubscriptionStatus.ACTIVE);
  const to = { seconds: (await subscriptionOf(userId)).subscription!.currentPeriodEnd!.seconds + 3_600n, nanos: 0 };
  for (let call = 0, done = false; !done && call < 5; call++) {
    ({ done } = await sandbox.advanceClock({ target: { case: 'to', value: to } }, { timeoutMs: 29_000 }));
  }
  t.is(await status(), SubscriptionStatus.PAST_DUE);
  const charges = async () => {
    const { data } = (await system.ledger('/v1/payments?limit=100')) as { data: { customer_reference: string }[] };
    return data.filter(({ customer_reference: of }) => of === userId).length;
  };
  const before = await charges();
  const panel = await signIn(browser, system.httpUrl, 'sofia');
  await panel.open(`/users/${userId}`);
  await panel.press('Charge again now');
  await panel.confirm('Charge again now', 'the card has money, the viewer says');
  await waitUntil('one more charge', async () => (await charges()) === before + 1);
  t.deepEqual(complaints(), []);
  await panel.close();
  for (const client of [plans, subscriptions, sandbox]) client.close();
});

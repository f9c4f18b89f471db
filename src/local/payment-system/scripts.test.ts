import test from 'ava';
import { merchantOf } from '../../testing/payment-system-merchant.ts';
import { startPaymentSystem, type CustomerScript, type PaymentObject } from '../../testing/payment-system.ts';
import { waitUntil } from '../../testing/wait-until.ts';
import { startWebhookReceiver } from '../../testing/webhook-receiver.ts';
import { signatureOf } from './webhooks.ts';

const receiver = await startWebhookReceiver();
const system = await startPaymentSystem({ webhookUrl: receiver.url });
const merchant = merchantOf(() => system);
/** Nothing by then is silence, on a slow machine too. */
const silentMs = 3_000;

test.after.always(async () => {
  await system.stop();
  await receiver.close();
});

type Seen = string;
/** What the caller of a charge sees: the payment's status, the HTTP error, or that none came. */
async function seen(body: object, key: string): Promise<Seen> {
  try {
    const answer = await merchant.call('/v1/charges', { key, body, signal: AbortSignal.timeout(silentMs) });
    return answer.status === 200 ? String(answer.body['status']) : String(answer.status);
  } catch (error) {
    return (error as Error).name === 'TimeoutError' ? 'silence' : 'reset';
  }
}
const ledgerOf = async (reference: string) =>
  ((await merchant.call(`/v1/payments?reference=${reference}`)).body['data'] as PaymentObject[]).map(
    ({ status }) => status,
  );

/** A new customer with a good card and a script; a charge twice under one key, and what the ledger has of it. */
async function play(charges: CustomerScript['charges']) {
  const saved = await merchant.saveCard();
  await system.script(saved.customer_reference, { charges });
  const reference = crypto.randomUUID();
  const body = merchant.chargeOf(saved, reference);
  const first = await seen(body, reference);
  const ledger = await ledgerOf(reference);
  return { saved, first, ledger, again: await seen(body, reference), ledgerAfter: await ledgerOf(reference) };
}

// What the first call and its repeat see, and what the ledger has after each.
const expected: Record<string, [Seen, string[], Seen, string[]]> = {
  ok: ['succeeded', ['succeeded'], 'succeeded', ['succeeded']],
  soft_decline: ['declined', ['declined'], 'declined', ['declined']],
  hard_decline: ['declined', ['declined'], 'declined', ['declined']],
  action_required: ['requires_action', ['requires_action'], 'requires_action', ['requires_action']],
  processing: ['processing', ['processing'], 'processing', ['processing']],
  charged_unanswered: ['silence', ['succeeded'], 'silence', ['succeeded']],
  charged_reset: ['reset', ['succeeded'], 'succeeded', ['succeeded']],
  charged_500: ['500', ['succeeded'], '500', ['succeeded']],
  nothing_unanswered: ['silence', [], 'succeeded', ['succeeded']],
  nothing_reset: ['reset', [], 'succeeded', ['succeeded']],
  stored_500: ['500', [], '500', []],
  key_in_use: ['409', [], 'succeeded', ['succeeded']],
  rate_limited: ['429', [], 'succeeded', ['succeeded']],
};

for (const [outcome, [first, ledger, again, ledgerAfter]] of Object.entries(expected)) {
  test(`a charge scripted as ${outcome} is seen as ${first} and then as ${again}`, async (t) => {
    const played = await play([{ outcome: outcome as 'ok' }]);
    const { saved: _saved, ...shown } = played;
    t.deepEqual(shown, { first, ledger, again, ledgerAfter });
  });
}

test('declines n times and then goes by the card, for this customer only', async (t) => {
  const { saved, first } = await play([{ outcome: 'soft_decline', times: 3 }]);
  const charge = () => seen(merchant.chargeOf(saved), crypto.randomUUID());
  t.deepEqual(
    [first, await charge(), await charge(), await charge(), await charge()],
    ['declined', 'declined', 'declined', 'succeeded', 'succeeded'],
  );
  const other = await merchant.saveCard();
  await system.script(saved.customer_reference, { charges: [{ outcome: 'hard_decline' }] });
  t.is(await seen(merchant.chargeOf(other), crypto.randomUUID()), 'succeeded');
  await system.script(saved.customer_reference, {});
  t.is(await charge(), 'succeeded', 'a new script replaces the old one');
});

test('charges at once and answers later', async (t) => {
  const saved = await merchant.saveCard();
  await system.script(saved.customer_reference, { charges: [{ outcome: 'ok', delay_ms: 2_000 }] });
  let isAnswered = false;
  const started = performance.now();
  const body = merchant.chargeOf(saved, 'slow');
  const answer = merchant.call('/v1/charges', { key: 'slow', body }).finally(() => (isAnswered = true));
  await waitUntil('the ledger has it', async () => (await ledgerOf('slow')).length === 1);
  t.false(isAnswered);
  t.is((await answer).body['status'], 'succeeded');
  t.true(performance.now() - started >= 2_000);
});

test('a restart goes on with the script and the stored errors', async (t) => {
  const own = await startPaymentSystem({ webhookUrl: receiver.url });
  let present = own;
  const shop = merchantOf(() => present);
  const saved = await shop.saveCard();
  await own.script(saved.customer_reference, { charges: [{ outcome: 'stored_500' }, { outcome: 'hard_decline' }] });
  const body = shop.chargeOf(saved);
  t.is((await shop.call('/v1/charges', { key: 'first', body })).status, 500);
  await own.kill();
  present = await startPaymentSystem({ webhookUrl: receiver.url, dataDir: own.dataDir });
  t.teardown(async () => {
    await present.stop();
    await own.stop();
  });
  t.is((await shop.call('/v1/charges', { key: 'first', body })).status, 500);
  t.is((await shop.call('/v1/charges', { key: 'second', body })).body['decline_code'], 'stolen_card');
});

test('refuses a script that it would not understand', async (t) => {
  const wrong = [
    { charges: [{ outcome: 'fine' }] },
    { charges: [{ outcome: 'ok', times: 0 }] },
    { charges: [{ outcome: 'ok', delay_ms: -1 }] },
    { charges: {} },
    { charges: Array.from({ length: 101 }, () => ({ outcome: 'ok' })) },
    { webhooks: 'gone' },
    { chargse: [] },
  ];
  for (const body of wrong) {
    t.is((await merchant.call('/v1/scripts/viewer', { method: 'PUT', body })).status, 400, JSON.stringify(body));
  }
  t.is((await merchant.call('/v1/scripts/viewer')).status, 404);
  for (const seed of ['7', -1, 1.5, undefined]) {
    t.is((await merchant.call('/v1/faults', { method: 'PUT', body: { seed } })).status, 400);
  }
});

test('the same seed hits the same keys in the same way, and another seed others', async (t) => {
  const outcomesOf = async (seed: number) => {
    const own = await startPaymentSystem({ webhookUrl: receiver.url });
    try {
      const shop = merchantOf(() => own);
      const saved = await shop.saveCard();
      await own.randomFaults(seed);
      const queue = Array.from({ length: 200 }, (_, index) => `key-${index}`);
      const statuses: Record<string, string> = {};
      const worker = async () => {
        for (let key = queue.shift(); key !== undefined; key = queue.shift()) {
          const signal = AbortSignal.timeout(silentMs);
          statuses[key] = await shop
            .call('/v1/charges', { key, body: shop.chargeOf(saved, key), signal })
            .then(({ status, body }) => (status === 200 ? String(body['status']) : String(status)))
            .catch(() => 'none');
        }
      };
      await Promise.all(Array.from({ length: 32 }, worker));
      return statuses;
    } finally {
      await own.stop();
    }
  };
  const [first, second, other] = [await outcomesOf(7), await outcomesOf(7), await outcomesOf(8)];
  t.deepEqual(second, first);
  t.notDeepEqual(other, first);
  const count = (...wanted: string[]) => Object.values(first).filter((status) => wanted.includes(status)).length;
  // Of 200 calls 20.5 % are hit, 41 expected, and 6 % declined, 12 expected; bounds of three standard deviations.
  const faults = 200 - count('succeeded');
  t.true(faults >= 24 && faults <= 58, `${faults} faults`);
  t.true(count('declined') >= 2 && count('declined') <= 22, `${count('declined')} declined`);
  t.true(count('none') > 0 && count('500') > 0 && count('429', '409') > 0);
});

test('webhooks of a customer are duplicated, late, shuffled, lost or badly signed', async (t) => {
  const inbox = await startWebhookReceiver();
  const own = await startPaymentSystem({ webhookUrl: inbox.url });
  t.teardown(async () => {
    await own.stop();
    await inbox.close();
  });
  const shop = merchantOf(() => own);
  await own.setClock('2031-03-01T00:00:00Z', false);
  const paid = async (webhooks: CustomerScript['webhooks']) => {
    const { id, page_url, customer_reference } = await shop.openCheckout();
    await own.script(customer_reference, { webhooks });
    await own.pay(page_url!);
    return id;
  };
  const copiesOf = (id: string) => inbox.received.filter(({ body }) => body.includes(id)).map(({ body }) => body);
  const settled = () => waitUntil('all is sent', async () => (await own.clock()).undelivered_webhooks === 0);

  const duplicated = await paid('duplicated');
  const lost = await paid('lost');
  const late = await paid('late');
  const shuffled: string[] = [];
  for (let index = 0; index < 8; index++) shuffled.push(await paid('shuffled'));
  await settled();
  t.is(copiesOf(duplicated).length, 2);
  t.is(new Set(copiesOf(duplicated)).size, 1);
  t.deepEqual(copiesOf(late), []);

  // A second at a time, as the instants of the shuffled ones differ by less.
  for (let second = 1; second <= 60; second++) {
    await own.setClock(`2031-03-01T00:${second === 60 ? '01:00' : `00:${String(second).padStart(2, '0')}`}Z`, false);
    await settled();
  }
  const order = inbox.received.flatMap(({ body }) => shuffled.filter((id) => body.includes(id)));
  t.deepEqual([...order].sort(), [...shuffled].sort());
  t.notDeepEqual(order, shuffled);
  await own.setClock('2031-03-01T00:09:59Z', false);
  await settled();
  t.deepEqual(copiesOf(late), []);
  await own.setClock('2031-03-01T00:10:00Z', false);
  await settled();
  t.is(copiesOf(late).length, 1);

  const forged = await paid('badly_signed');
  await settled();
  await own.setClock('2031-03-01T00:11:00Z', false);
  await settled();
  const notice = inbox.received.find(({ body }) => body.includes(forged));
  const seconds = Number(/^t=([0-9]+)/.exec(String(notice!.headers['sandbox-signature']))![1]);
  t.not(notice!.headers['sandbox-signature'], signatureOf(own.webhookSecret, seconds, notice!.body));
  await own.setClock('2031-03-05T00:00:00Z', false);
  await settled();
  t.deepEqual(copiesOf(lost), []);
});

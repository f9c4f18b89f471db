import { randomUUID } from 'node:crypto';
import test from 'ava';
import { Client } from 'pg';
import { entities } from '../entities.ts';
import { createTestDatabase, type TestDatabase } from '../testing/database.ts';
import { openDatabase } from './orm.ts';

/**
 * Constraints, indexes and triggers are written by hand in the migrations, where the ORM does not know of them or would
 * name them otherwise. Every other statement is about a table or a column; the ORM adds a column without that word.
 */
const writtenByHand =
  /^(alter table "\w+" (add|drop) constraint |(create|drop) (unique )?index |drop (trigger|function) )/;
/** Read and written by SQL alone: the ORM would drop them. */
const tablesWithoutEntity = [
  'audit_entry',
  'charge_announcement',
  'customer_contact',
  'customer_notice',
  'dispute_look',
  'feature_rollout',
  'foreign_dispute',
  'idempotent_request',
  'journal_batch',
  'journal_fact',
  'outbox_message',
  'payment_adjustment',
  'payment_consent',
  'price_move',
  'promo_code',
  'promo_redemption',
  'receipt',
  'renewal_watch',
  'sandbox_clock',
  'trial_use',
];

let database: TestDatabase;
let client: Client;
test.before(async () => {
  database = await createTestDatabase();
  client = new Client({ connectionString: database.url });
  await client.connect();
});
test.after.always(async () => {
  await client?.end();
  await database?.drop();
});

/** A paid subscription with one settled payment, written by hand. */
async function plant(): Promise<Record<'userId' | 'planId' | 'priceId' | 'subscriptionId' | 'paymentId', string>> {
  const ids = {
    userId: randomUUID(),
    planId: randomUUID(),
    priceId: randomUUID(),
    subscriptionId: randomUUID(),
    paymentId: randomUUID(),
  };
  const { userId, planId, priceId, subscriptionId, paymentId } = ids;
  await client.query(`insert into customer values ($1, now())`, [userId]);
  await client.query(`insert into plan values ($1, $2, 'Plan', '', '{a}', 'cinema', null, now())`, [
    planId,
    `plan-${planId}`,
  ]);
  await client.query(`insert into price values ($1, $2, 'RUB', 100, 'month', 1, now())`, [priceId, planId]);
  await client.query(
    `insert into subscription (id, user_id, plan_id, price_id, product_line, status, billing_time_zone, anchor_at,
       current_period_start, current_period_end, next_charge_at, created_at)
     values ($1, $2, $3, $4, 'cinema', 'ACTIVE', 'UTC', now(), now(), now() + interval '1 month',
       now() + interval '1 month', now())`,
    [subscriptionId, userId, planId, priceId],
  );
  await client.query(
    `insert into payment (id, subscription_id, user_id, purpose, amount_minor, currency_code, status, created_at)
     values ($1, $2, $3, 'cycle:1', 100, 'RUB', 'PENDING', now())`,
    [paymentId, subscriptionId, userId],
  );
  return ids;
}

function addAttempt(paymentId: string, number: number, state: string): Promise<unknown> {
  const open = state === 'PENDING' || state === 'UNKNOWN';
  return client.query(
    `insert into payment_attempt (id, payment_id, subscription_id, attempt_number, kind, idempotency_key, provider,
       merchant_account, amount_minor, currency_code, description, state, lease_until, next_check_at, settled_at, created_at)
     values ($1, $2, $1, $3, 'checkout', $4, 'sandbox', 'm', 100, 'RUB', '', $5, now(), $6, $7, now())`,
    [randomUUID(), paymentId, number, randomUUID(), state, open ? new Date() : null, open ? null : new Date()],
  );
}

test('the entities and the migrated database have the same tables and columns', async (t) => {
  const orm = await openDatabase({ url: database.url, entities });
  try {
    const difference = await orm.schema.getUpdateSchemaSQL({ wrap: false });
    const statements = difference
      .split(/;\s*/)
      .filter((statement) => statement !== '' && !writtenByHand.test(statement));
    t.deepEqual(
      statements,
      tablesWithoutEntity.map((table) => `drop table if exists "${table}" cascade`),
    );
    t.true(entities.length >= 10);
  } finally {
    await orm.close(true);
  }
});

test.serial('a viewer cannot have two open subscriptions in one product line', async (t) => {
  const { userId, planId, priceId } = await plant();
  await t.throwsAsync(
    client.query(
      `insert into subscription (id, user_id, plan_id, price_id, product_line, status, billing_time_zone,
         next_transition_at, created_at)
       values ($1, $2, $3, $4, 'cinema', 'INCOMPLETE', 'UTC', now(), now())`,
      [randomUUID(), userId, planId, priceId],
    ),
    { message: /one_open_subscription/ },
  );
});

test.serial('a payment cannot have two live attempts, also when one of them has succeeded', async (t) => {
  for (const first of ['PENDING', 'UNKNOWN', 'SUCCEEDED']) {
    const { paymentId } = await plant();
    await addAttempt(paymentId, 1, first);
    await t.throwsAsync(addAttempt(paymentId, 2, 'PENDING'), { message: /one_live_attempt/ }, first);
  }
  const { paymentId } = await plant();
  await addAttempt(paymentId, 1, 'DECLINED');
  await t.notThrowsAsync(addAttempt(paymentId, 2, 'PENDING'));
});

test.serial('a subscription cannot owe twice for the same purpose', async (t) => {
  const { subscriptionId, userId } = await plant();
  await t.throwsAsync(
    client.query(
      `insert into payment (id, subscription_id, user_id, purpose, amount_minor, currency_code, status, created_at)
       values ($1, $2, $3, 'cycle:1', 100, 'RUB', 'PENDING', now())`,
      [randomUUID(), subscriptionId, userId],
    ),
    { message: /payment_once_per_purpose/ },
  );
});

test.serial('a price cannot be changed', async (t) => {
  const { priceId } = await plant();
  await t.throwsAsync(client.query(`update price set amount_minor = 1 where id = $1`, [priceId]), {
    message: /price rows never change/,
  });
});

test.serial('a line of history can be neither changed nor deleted', async (t) => {
  const id = randomUUID();
  await client.query(
    `insert into subscription_event values ($1, $1, $1, 'SUBSCRIBED', 'system', 'x', '', null, '{}', now())`,
    [id],
  );
  for (const statement of [
    `update subscription_event set reason = 'y' where id = $1`,
    `delete from subscription_event where id = $1`,
  ]) {
    await t.throwsAsync(client.query(statement, [id]), { message: /subscription_event rows never change/ });
  }
});

test.serial('a subscription that has not ended always has something that happens to it next', async (t) => {
  const { subscriptionId } = await plant();
  await t.throwsAsync(client.query(`update subscription set next_charge_at = null where id = $1`, [subscriptionId]), {
    message: /subscription_has_next_action/,
  });
});

test.serial('an attempt that is open is always looked at again, and one that is decided says when', async (t) => {
  const { paymentId } = await plant();
  await addAttempt(paymentId, 1, 'UNKNOWN');
  await t.throwsAsync(
    client.query(`update payment_attempt set next_check_at = null where payment_id = $1`, [paymentId]),
    {
      message: /payment_attempt_open/,
    },
  );
  await t.throwsAsync(
    client.query(`update payment_attempt set state = 'DECLINED', next_check_at = null where payment_id = $1`, [
      paymentId,
    ]),
    { message: /payment_attempt_settled/ },
  );
});

import { randomUUID } from 'node:crypto';
import test from 'ava';
import { Pool } from 'pg';
import { inTransaction, openDatabase, type MikroORM } from '../db/orm.ts';
import { createTestDatabase, type TestDatabase } from '../testing/database.ts';
import { waitUntil } from '../testing/wait-until.ts';
import { changeEntitlements } from './change-entitlements.ts';

let database: TestDatabase;
let pool: Pool;
let orm: MikroORM;
test.before(async () => {
  database = await createTestDatabase();
  pool = new Pool({ connectionString: database.url, max: 2 });
  orm = await openDatabase({ url: database.url, entities: [] });
});
test.after.always(async () => {
  await pool?.end();
  await orm?.close(true);
  await database?.drop();
});

function grantLine(userId: string, productLine: string, beforeCommit = async () => {}): Promise<void> {
  const grant = {
    product_line: productLine,
    subscription_id: randomUUID(),
    plan_code: 'basic',
    features: [`${productLine}.all`],
    access_until: '2027-02-15T09:00:00Z',
    in_grace: false,
  };
  const change = { userId, productLine, grant, kind: 'GRANTED', reason: 'SUBSCRIBED' } as const;
  return inTransaction(orm.em, async (tx) => {
    await changeEntitlements(tx, [change], Temporal.Instant.from('2027-01-15T09:00:00Z'), '');
    await beforeCommit();
  });
}

test('of two first grants of one viewer at once, the second waits and keeps the first', async (t) => {
  const userId = randomUUID();
  let second: Promise<void> | undefined;
  await grantLine(userId, 'cinema', async () => {
    second = grantLine(userId, 'sport');
    second.catch(() => {});
    await waitUntil('the second waits for the first', async () => {
      const { rowCount } = await pool.query(
        `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
      );
      return rowCount === 1;
    });
  });
  await second;
  const { rows } = await pool.query(
    `select version::int, array(select line ->> 'product_line' from jsonb_array_elements(grants) as line) as lines
     from outbox_message where user_id = $1 order by version`,
    [userId],
  );
  t.deepEqual(rows, [
    { version: 1, lines: ['cinema'] },
    { version: 2, lines: ['cinema', 'sport'] },
  ]);
});

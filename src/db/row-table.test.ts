import test from 'ava';
import { sql } from 'kysely';
import { createTestDatabase, type TestDatabase } from '../testing/database.ts';
import { openDatabase, type MikroORM } from './orm.ts';
import { rowTable } from './row-table.ts';

let database: TestDatabase;
let orm: MikroORM;
test.before(async () => {
  database = await createTestDatabase();
  orm = await openDatabase({ url: database.url, entities: [] });
});
test.after.always(async () => {
  await orm?.close(true);
  await database?.drop();
});

const texts = ['', ' ', 'NULL', '{', '}', ',', 'a,b', '"', '\\', '\\"', "'", '\n\t\r', 'ё 🎬', '\\n', '{"a"}', '$1'];

test('every text reaches the database as it is, alone and inside JSON', async (t) => {
  const { rows } = await sql<{ text: string; json: { text: string } }>`
    select rows.text, rows.json
    from ${rowTable('rows', texts, {
      position: ['integer', (_, index) => index],
      text: ['text', (text) => text],
      json: ['jsonb', (text) => ({ text, [text]: [text] })],
    })} order by rows.position
  `.execute(orm.em.getKysely());
  t.deepEqual(
    rows.map(({ text }) => text),
    texts,
  );
  t.deepEqual(
    rows.map(({ json }) => json),
    texts.map((text) => ({ text, [text]: [text] })),
  );
});

test('an instant is the same to the millisecond, before 1970 and far ahead', async (t) => {
  const instants = [
    '2027-01-31T12:00:00.123Z',
    '1969-12-31T23:59:59.999Z',
    '1900-01-01T00:00:00.001Z',
    '9999-12-31T23:59:59.999Z',
  ];
  const { rows } = await sql<{ printed: string }>`
    select to_char(c.at::timestamptz(3) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as printed
    from ${rowTable('c', instants, { at: ['instant', (text) => Temporal.Instant.from(text)] })}
  `.execute(orm.em.getKysely());
  t.deepEqual(
    rows.map(({ printed }) => printed),
    instants,
  );
});

test('what is nothing is null, numbers keep every digit, and no rows are no rows', async (t) => {
  const columns = {
    id: ['uuid', () => null],
    name: ['text', () => null],
    amount: ['bigint', (amount: bigint) => amount],
    flag: ['boolean', (amount: bigint) => (amount > 0n ? true : null)],
    at: ['instant', () => null],
  } as const;
  const table = (amounts: bigint[]) =>
    sql<object>`select id, name, amount::text, flag, at from ${rowTable('c', amounts, columns)}`.execute(
      orm.em.getKysely(),
    );
  t.deepEqual((await table([9_223_372_036_854_775_807n, -1n])).rows, [
    { id: null, name: null, amount: '9223372036854775807', flag: true, at: null },
    { id: null, name: null, amount: '-1', flag: null, at: null },
  ]);
  t.deepEqual((await table([])).rows, []);
});

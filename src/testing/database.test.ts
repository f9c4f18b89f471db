import test from 'ava';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { createTestDatabase } from './database.ts';

async function query(url: string, text: string): Promise<Record<string, unknown>[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(text)).rows as Record<string, unknown>[];
  } finally {
    await client.end();
  }
}

test('every caller gets a migrated database of its own, also many at once', async (t) => {
  const databases = await Promise.all(Array.from({ length: 4 }, () => createTestDatabase()));
  t.is(new Set(databases.map(({ url }) => url)).size, 4);
  await query(databases[0]!.url, 'create table mine ()');
  for (const { url } of databases.slice(1)) {
    t.deepEqual(
      await query(url, `select to_regclass('mine') as mine, to_regclass('subscription') is not null as migrated`),
      [{ mine: null, migrated: true }],
    );
  }
  for (const { drop } of databases) await drop();
  await t.throwsAsync(query(databases[0]!.url, 'select 1'), { code: '3D000' });
});

test('a database is dropped under whoever still uses it', async (t) => {
  const { url, drop } = await createTestDatabase();
  const client = new Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  await t.notThrowsAsync(drop());
  await client.end().catch(() => undefined);
});

test('without the runner a line says to use it', async (t) => {
  const module = JSON.stringify(join(import.meta.dirname, 'database.ts'));
  const script = `const { createTestDatabase } = await import(${module});
    await createTestDatabase().catch((error) => console.log(error.message));`;
  const { BILLING_TEST_POSTGRES_URL: _, ...env } = process.env;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], { env });
  t.regex(stdout, /npm test -- FILE\n$/);
});

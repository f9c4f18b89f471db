import { randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { Client, DatabaseError } from 'pg';

const triesMax = 50;
const retryMs = 100;
const goodbyeTriesMax = 50;
const goodbyeMs = 20;
/** "source database is being accessed by other users": another test file is cloning at this moment. */
const beingAccessed = '55006';

export interface TestDatabase {
  readonly url: string;
  drop(): Promise<void>;
}

/** A migrated database of the caller's own: a clone of the template that the test runner has built. */
export async function createTestDatabase(): Promise<TestDatabase> {
  const { BILLING_TEST_POSTGRES_URL: serverUrl, BILLING_TEST_TEMPLATE: template } = process.env;
  if (!serverUrl || !template)
    throw new Error('run tests through the runner, which starts PostgreSQL: npm test -- FILE');
  const name = `test_${randomBytes(8).toString('hex')}`;
  await clone(serverUrl, name, template);
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  return {
    url: url.href,
    drop: () => drop(serverUrl, name),
  };
}

async function clone(serverUrl: string, name: string, template: string): Promise<void> {
  for (let tried = 1; ; tried++) {
    try {
      // Its files are copied; the default writes each of its pages to the write-ahead log, 9 MB for every database.
      return await run(serverUrl, `create database ${name} template ${template} strategy file_copy`);
    } catch (error) {
      if (!(error instanceof DatabaseError) || error.code !== beingAccessed || tried === triesMax) throw error;
      await pause(retryMs);
    }
  }
}

/** Pools end before their connections do, and one that is cut off while it ends fails the test: they get a second. */
async function drop(serverUrl: string, name: string): Promise<void> {
  const client = new Client({ connectionString: serverUrl });
  await client.connect();
  try {
    for (let tried = 0; tried < goodbyeTriesMax; tried++) {
      const { rowCount } = await client.query('select from pg_stat_activity where datname = $1', [name]);
      if (rowCount === 0) break;
      await pause(goodbyeMs);
    }
    await client.query(`drop database if exists ${name} with (force)`);
  } finally {
    await client.end();
  }
}

async function run(serverUrl: string, statement: string): Promise<void> {
  const client = new Client({ connectionString: serverUrl });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}

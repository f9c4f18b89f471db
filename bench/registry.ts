import type { Client } from 'pg';
import { CustomerAdminService } from '@cinema-billing/gen/billing/admin/v1/customer_admin_service_pb.ts';
import { grpcClient, type GrpcClient } from '../src/cli/grpc-client.ts';
import { migrateDatabase } from '../src/db/migrate.ts';
import type { Bench, BenchEnvironment, Figures } from './bench.ts';
import { withClient } from './postgres-server.ts';
import { preload } from './renewals/preload.ts';
import { spread } from './report.ts';
import { startServiceUnderLoad } from './rpc/servers.ts';

const users = 100_000;
const pageSize = 50;
const lookUpsPerKind = 150;
const warmUps = 30;
/** The registry is walked as far as this before it begins again. */
const walkPagesMax = 200;

/** What an operator types, and how many of each. */
const kinds = ['first_page', 'next_page', 'by_user', 'by_payment', 'by_card'] as const;
type Kind = (typeof kinds)[number];

interface Known {
  user_id: string;
  provider_payment_id: string;
  last4: string;
}

/** How long an operator's search takes, from call to answer, against one statement that gives the same rows. */
export const registry: Bench = {
  title: `the one search among ${users.toLocaleString('en')} customers, against the bare query on the right index`,
  units: {
    p95: 'ms',
    bare_p95: 'ms',
    ...Object.fromEntries(
      kinds.flatMap((kind) => [[`${kind}_p95`, 'ms'] as const, [`${kind}_bare_p95`, 'ms'] as const]),
    ),
  },
  ratios: {
    p95_over_bare_sql: { of: ({ p95, bare_p95: bare }) => p95! / bare!, bar: { at_most: 3 } },
  },
  async prepare(env) {
    const databaseUrl = env.databaseUrl('registry');
    const known = await plantCustomers(env, databaseUrl);
    const service = await startServiceUnderLoad(env, databaseUrl);
    const client = grpcClient(CustomerAdminService, `127.0.0.1:${service.grpcPort}`);
    const token = service.token({ role: 'read_only' });
    const work = (count: number) =>
      withClient(databaseUrl, (sql) => measure(ours(client, token, known), bare(sql, known), count));
    await work(warmUps);
    return {
      settings: {
        load: `${lookUpsPerKind} of each kind, one after the other, one operator; pages of ${pageSize}`,
        bare: 'one statement on one connection: the same customers with their newest subscription, plan and price',
        p95: 'over all kinds together',
      },
      round: () => work(lookUpsPerKind),
      async stop() {
        client.close();
        await service.stop();
      },
    };
  },
};

/** One search; answers how many customers it found. */
type Search = (kind: Kind, n: number) => Promise<number>;

async function measure(service: Search, statement: Search, count: number): Promise<Figures> {
  const figures: Record<string, number> = {};
  const all: Record<'service' | 'statement', number[]> = { service: [], statement: [] };
  for (const kind of kinds) {
    const taken: typeof all = { service: [], statement: [] };
    for (let n = 0; n < count; n++) {
      const found: number[] = [];
      for (const [side, search] of [
        ['service', service],
        ['statement', statement],
      ] as const) {
        const startedAt = performance.now();
        found.push(await search(kind, n));
        taken[side].push(performance.now() - startedAt);
      }
      if (found[0] !== found[1] || found[0] === 0) throw new Error(`${kind} ${n} found ${found.join(' and ')}`);
    }
    figures[`${kind}_p95`] = p95(taken.service);
    figures[`${kind}_bare_p95`] = p95(taken.statement);
    all.service.push(...taken.service);
    all.statement.push(...taken.statement);
  }
  return { ...figures, p95: p95(all.service), bare_p95: p95(all.statement) };
}

function p95(taken: number[]): number {
  const slowest = taken.toSorted((a, b) => b - a).slice(0, Math.ceil(taken.length * 0.05));
  return spread(slowest).min;
}

function ours(client: GrpcClient<typeof CustomerAdminService>, token: string, known: readonly Known[]): Search {
  let pageToken = '';
  return async (kind, n) => {
    const { user_id: userId, provider_payment_id: paymentId, last4 } = known[n % known.length]!;
    const card = { last4, amount: { currencyCode: 'RUB', amountMinor: 59_900n } };
    const request = {
      first_page: {},
      next_page: { pageToken: n % walkPagesMax === 0 ? '' : pageToken },
      by_user: { query: userId },
      by_payment: { query: paymentId },
      by_card: { card },
    }[kind];
    const { customers, nextPageToken } = await client.listCustomers({ pageSize, ...request }, { token });
    pageToken = nextPageToken;
    return customers.length;
  };
}

const select = `
  select c.user_id, c.created_at, s.*, plan.code, plan.name, plan.features, price.amount_minor, price.currency_code,
    price.interval_unit, price.interval_count, count
  from customer c
    join lateral (select *, count(*) over () from subscription s where s.user_id = c.user_id
      order by s.created_at desc, s.id desc limit 1) s on true
    join plan on plan.id = s.plan_id join price on price.id = s.price_id`;
const order = `order by c.created_at desc, c.user_id desc limit ${pageSize + 1}`;
const active = `exists (select 1 from subscription a where a.user_id = c.user_id and a.current_period_start is not null)`;

function bare(client: Client, known: readonly Known[]): Search {
  let last: unknown[] = [];
  const run = async (where: string, values: unknown[]) => {
    const { rows } = await client.query<Record<string, unknown>>(`${select} where ${where} ${order}`, values);
    const page = rows.slice(0, pageSize);
    last = [page.at(-1)?.['created_at'], page.at(-1)?.['user_id']];
    return page.length;
  };
  return (kind, n) => {
    const { user_id: userId, provider_payment_id: paymentId, last4 } = known[n % known.length]!;
    const isFirst = kind === 'first_page' || (kind === 'next_page' && n % walkPagesMax === 0);
    if (isFirst) return run(active, []);
    switch (kind) {
      case 'by_user':
        return run('c.user_id = $1', [userId]);
      case 'by_payment':
        return run(
          `c.user_id = (select s.user_id from payment_attempt a join subscription s on s.id = a.subscription_id
             where a.provider_payment_id = $1)`,
          [paymentId],
        );
      case 'by_card':
        return run(
          `exists (select 1 from payment_method m where m.user_id = c.user_id and m.last4 = $1) and exists (select 1
             from subscription a join payment p on p.subscription_id = a.id where a.user_id = c.user_id
             and p.status = 'SUCCEEDED' and p.amount_minor = 59900 and p.currency_code = 'RUB') and ${active}`,
          [last4],
        );
      default:
        return run(`(c.created_at, c.user_id) < ($1, $2) and ${active}`, last);
    }
  };
}

/** Customers who have paid once; answers some of them, spread over all. */
async function plantCustomers(env: BenchEnvironment, databaseUrl: string): Promise<Known[]> {
  await withClient(env.databaseUrl('postgres'), (client) => client.query('create database registry'));
  await migrateDatabase(databaseUrl);
  env.progress(`preloading ${users.toLocaleString('en')} customers`);
  await preload(databaseUrl, users);
  return withClient(databaseUrl, async (client) => {
    await client.query(
      `update payment_method set last4 = lpad((substr(provider_method_id, 4)::int % 9973)::text, 4, '0')`,
    );
    await client.query('vacuum (analyze, freeze)');
    const { rows } = await client.query<Known>(
      `select c.user_id, a.provider_payment_id, m.last4 from customer c join payment_method m using (user_id)
         join payment p using (user_id) join payment_attempt a on a.payment_id = p.id
       order by md5(c.user_id::text) limit 500`,
    );
    return rows;
  });
}

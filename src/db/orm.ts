import { Migrator } from '@mikro-orm/migrations';
import { MikroORM, type EntityManager, type Options } from '@mikro-orm/postgresql';
import { sql } from 'kysely';
import { AbsentAttempts } from './migrations/absent-attempts.ts';
import { AttachedMoney } from './migrations/attached-money.ts';
import { Initial } from './migrations/initial.ts';
import { NoticeLeases } from './migrations/notice-leases.ts';
import { ChargeAnnouncements } from './migrations/charge-announcements.ts';
import { ContactSearch } from './migrations/contact-search.ts';
import { CustomerNotices } from './migrations/customer-notices.ts';
import { DisputeLooks } from './migrations/dispute-looks.ts';
import { Disputes } from './migrations/disputes.ts';
import { Journal } from './migrations/journal.ts';
import { Operators } from './migrations/operators.ts';
import { Receipts } from './migrations/receipts.ts';
import { PlanChanges } from './migrations/plan-changes.ts';
import { PriceMoves } from './migrations/price-moves.ts';
import { PromoCodes } from './migrations/promo-codes.ts';
import { RefundKeys } from './migrations/refund-keys.ts';
import { Refunds } from './migrations/refunds.ts';
import { WholeLife } from './migrations/whole-life.ts';

export type { EntityManager, MikroORM } from '@mikro-orm/postgresql';

const poolSizeMax = 12;
const statementTimeoutMs = 5_000;
const lockTimeoutMs = 2_000;
const idleInTransactionMs = 10_000;
const connectTimeoutMs = 2_000;

export interface DatabaseOptions {
  url: string;
  /** The entities: db knows no domain, so whoever builds the app passes them in. */
  entities: NonNullable<Options['entities']>;
  statementTimeoutMs?: number;
}

/**
 * Opens the pool. Limits are the server's own, per session: a statement 5 s, a lock 2 s, an idle transaction 10 s, a
 * connection 2 s; whoever runs into one gets an error, never a hang.
 */
export async function openDatabase(options: DatabaseOptions): Promise<MikroORM> {
  return MikroORM.init({
    clientUrl: options.url,
    entities: options.entities,
    extensions: [Migrator],
    migrations: {
      migrationsList: [
        { name: '20261123-initial', class: Initial },
        { name: '20261123-refunds', class: Refunds },
        { name: '20261123-absent-attempts', class: AbsentAttempts },
        { name: '20261123-notice-leases', class: NoticeLeases },
        { name: '20261123-whole-life', class: WholeLife },
        { name: '20261123-journal', class: Journal },
        { name: '20261123-operators', class: Operators },
        { name: '20261124-disputes', class: Disputes },
        { name: '20261124-receipts', class: Receipts },
        { name: '20261124-plan-changes', class: PlanChanges },
        { name: '20261124-price-moves', class: PriceMoves },
        { name: '20261124-contact-search', class: ContactSearch },
        { name: '20261124-promo-codes', class: PromoCodes },
        { name: '20261124-refund-keys', class: RefundKeys },
        { name: '20261124-customer-notices', class: CustomerNotices },
        { name: '20261128-attached-money', class: AttachedMoney },
        { name: '20261128-charge-announcements', class: ChargeAnnouncements },
        { name: '20261128-dispute-looks', class: DisputeLooks },
      ],
      snapshot: false,
      tableName: 'migration',
    },
    // A batched flush checks versions with a SELECT and then updates by key alone: it loses updates.
    useBatchUpdates: false,
    pool: { min: 0, max: poolSizeMax },
    driverOptions: {
      connectionTimeoutMillis: connectTimeoutMs,
      statement_timeout: options.statementTimeoutMs ?? statementTimeoutMs,
      lock_timeout: lockTimeoutMs,
      idle_in_transaction_session_timeout: idleInTransactionMs,
    },
    discovery: { warnWhenNoEntities: false },
    debug: false,
    logger: () => {},
  });
}

/** Runs the work in one transaction on a fork of its own, which is thrown away afterwards, committed or not. */
export async function inTransaction<T>(em: EntityManager, work: (tx: EntityManager) => Promise<T>): Promise<T> {
  return em.fork().transactional(work);
}

/**
 * As `inTransaction`, for work on hundreds of rows that are named by key. Planned without a look at the parameters, its
 * statements find them by index; a plan made for 500 keys would read a table of 100,000 rows whole, batch after batch.
 */
export async function inBatchTransaction<T>(em: EntityManager, work: (tx: EntityManager) => Promise<T>): Promise<T> {
  return inTransaction(em, async (tx) => {
    await sql`set local plan_cache_mode = force_generic_plan`.execute(tx.getKysely());
    return work(tx);
  });
}

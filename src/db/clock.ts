import { sql } from 'kysely';
import { instantFromRow } from './instant-type.ts';
import type { EntityManager } from './orm.ts';

/**
 * Business time, to the millisecond: the database server's clock, so that no replica's wall clock decides about money;
 * in the sandbox a stored clock that all processes share and that only moves forward.
 */
export async function businessNow(em: EntityManager): Promise<Temporal.Instant> {
  const { rows } = await sql<{ now: string }>`select business_now()::text as now`.execute(em.getKysely());
  return instantFromRow(rows[0]!.now);
}

/**
 * Sets the sandbox's clock, forward only: an earlier instant leaves it where it is. `running` lets it flow from there
 * with real time; otherwise it stands until it is set again.
 */
export async function setSandboxClock(em: EntityManager, to: Temporal.Instant, running: boolean): Promise<void> {
  await sql`
    insert into sandbox_clock (set_to, set_at, running) values (${to.toString()}, clock_timestamp(), ${running})
    on conflict (single) do update
      set set_to = greatest(excluded.set_to, business_now()), set_at = excluded.set_at, running = excluded.running
  `.execute(em.getKysely());
}

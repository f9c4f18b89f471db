import { sql } from 'kysely';
import { instantFromRow } from '../db/instant-type.ts';
import { lockKeys } from '../db/lock-keys.ts';
import type { EntityManager } from '../db/orm.ts';

/** A look is written down this often at most, so that a claim does not write for it. Real time, as the next. */
const seenEvery = sql`interval '10 minutes'`;
/** More than a week; an hour more, because looks are written down now and then. */
const away = sql`interval '169 hours'`;

interface Row {
  free: boolean;
  was_away: boolean;
  is_seen: boolean;
  late_until: string | null;
}

/**
 * Takes the claim's lock and writes down that somebody looks for due charges. Gives until when what is due is late:
 * due while nobody looked for more than a week, so that its viewer has to be told before it is charged (design, missed
 * periods). Undefined where another replica has the lock. Whether anybody looked is a matter of real time: a sandbox
 * whose clock is moved was not away.
 */
export async function watchForDue(tx: EntityManager, now: Temporal.Instant): Promise<Temporal.Instant | undefined> {
  const db = tx.getKysely();
  const [space, key] = lockKeys.renewals;
  const { rows } = await sql<Row>`
    select pg_try_advisory_xact_lock(${space}, ${key}) as free, late_until::text,
      coalesce(seen_at < clock_timestamp() - ${away}, false) as was_away,
      coalesce(seen_at > clock_timestamp() - ${seenEvery}, false) as is_seen
    from (select 1) always left join renewal_watch on true
  `.execute(db);
  const { free, was_away: wasAway, is_seen: isSeen, late_until: lateUntil } = rows[0]!;
  if (!free) return undefined;
  const late = wasAway ? now : lateUntil === null ? beginning : instantFromRow(lateUntil);
  if (!isSeen) {
    await sql`
      insert into renewal_watch (seen_at, late_until) values (clock_timestamp(), ${late.toString()})
      on conflict (single) do update set seen_at = excluded.seen_at, late_until = excluded.late_until
    `.execute(db);
  }
  return late;
}

/** Until when what is due is late; undefined before anybody looked. */
export async function findLateUntil(tx: EntityManager): Promise<Temporal.Instant | undefined> {
  const { rows } = await sql<{ late_until: string }>`select late_until::text from renewal_watch`.execute(
    tx.getKysely(),
  );
  return rows[0] && instantFromRow(rows[0].late_until);
}

/** Before anything was sold. */
const beginning = Temporal.Instant.from('2000-01-01T00:00:00Z');

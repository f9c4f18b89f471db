import { reconcile } from '../src/ledger/reconcile.ts';
import { verifyLedger } from '../src/ledger/verify-ledger.ts';
import { chargesAreOnce } from './check-charges.ts';
import { periodsTile } from './check-periods.ts';
import type { SimulatedSystem } from './simulated-system.ts';

/** One invariant, looked at from outside. One that examined nothing has proven nothing. */
export interface Check {
  readonly name: string;
  readonly examined: number;
  readonly violations: readonly string[];
}

/** Whether something was examined and nothing is wrong. */
export function holds({ examined, violations }: Check): boolean {
  return examined > 0 && violations.length === 0;
}

/** All that can be seen from outside when everything has come to rest (design/7-reliability.md). */
export async function checkEverything(system: SimulatedSystem): Promise<Check[]> {
  const checks = [chargesAreOnce, nothingAfterTheEnd, nothingIsOpen, periodsTile, leasesFollowStates, authAgrees];
  const found: Check[] = [];
  for (const check of checks) found.push(await check(system));
  return [...found, ...(await booksAgree(system))];
}

/** I3. */
async function nothingIsOpen(system: SimulatedSystem): Promise<Check> {
  const rows = await system.query<{ id: string; state: string; open: boolean }>(
    `select id, state, state in ('PENDING', 'SENT', 'UNKNOWN', 'PARKED') as open from payment_attempt`,
  );
  const violations = rows.filter(({ open }) => open).map(({ id, state }) => `attempt ${id} is ${state}`);
  return { name: 'every attempt is decided', examined: rows.length, violations };
}

/** I15, by the payment system's own instants. */
async function nothingAfterTheEnd(system: SimulatedSystem): Promise<Check> {
  const rows = await system.query<{ id: string; subscription_id: string; ended_at: Date | null }>(
    `select a.id, a.subscription_id, s.ended_at from payment_attempt a join subscription s on s.id = a.subscription_id`,
  );
  const ended = new Map(rows.map((row) => [row.id, row]));
  const charges = (await system.paymentSystem.payments()).filter(({ kind }) => kind === 'off_session');
  const violations = charges.flatMap(({ reference, created_at: at }) => {
    const owner = ended.get(reference);
    const isLate = owner?.ended_at && Date.parse(at) > owner.ended_at.getTime();
    return isLate ? [`subscription ${owner.subscription_id} was charged at ${at}, after its end`] : [];
  });
  return { name: 'nothing is charged after the end', examined: charges.length, violations };
}

/** I4, in both directions, from the columns alone and not by the service's own rule. */
async function leasesFollowStates(system: SimulatedSystem): Promise<Check> {
  const rows = await system.query<{ user_id: string; should: Date | null; has: Date | null }>(
    `with lease as (
       select distinct on (user_id) user_id, case
         when status = 'PAST_DUE' then grace_until
         when status not in ('ACTIVE', 'TRIALING') then null
         when cancel_at_period_end or payment_method_id is null then current_period_end
         else current_period_end + interval '72 hours' end as should
       from subscription where status not in ('INCOMPLETE', 'INCOMPLETE_EXPIRED')
       order by user_id, (ended_at is null) desc, created_at desc
     )
     select coalesce(lease.user_id, e.user_id) as user_id, should, (e.grants -> 0 ->> 'access_until')::timestamptz as has
     from lease full join entitlement e on e.user_id = lease.user_id`,
  );
  const violations = rows
    .filter(({ should, has }) => should?.getTime() !== has?.getTime())
    .map((row) => `viewer ${row.user_id} has access until ${iso(row.has)} instead of ${iso(row.should)}`);
  return { name: 'leases are what states say', examined: rows.length, violations };
}

function iso(at: Date | null): string {
  return at?.toISOString() ?? 'never';
}

/** I5. */
async function authAgrees(system: SimulatedSystem): Promise<Check> {
  const ours = await system.query<{ user_id: string; version: string; rights_version: string; grants: Grant[] }>(
    `select user_id, version::text, rights_version::text, grants from entitlement`,
  );
  const theirs = new Map((await system.auth.users()).map((user) => [user.user_id, user]));
  const violations = ours.flatMap((row) => {
    const user = theirs.get(row.user_id);
    theirs.delete(row.user_id);
    const isSame =
      user !== undefined &&
      String(user.version) === row.version &&
      String(user.rights_version) === row.rights_version &&
      grantsText(user.grants) === grantsText(row.grants);
    return isSame ? [] : [`viewer ${row.user_id}: Auth is at version ${user?.version ?? 0}, billing at ${row.version}`];
  });
  const unknown = [...theirs.keys()].map((userId) => `Auth has rights of ${userId}, billing has none`);
  return { name: 'Auth equals the database', examined: ours.length, violations: [...violations, ...unknown] };
}

interface Grant {
  readonly product_line: string;
  readonly subscription_id: string;
  readonly plan_code: string;
  readonly features: readonly string[];
  readonly access_until: string;
  readonly in_grace: boolean;
}

function grantsText(grants: readonly Grant[]): string {
  return JSON.stringify(
    grants.map((one) => [
      one.product_line,
      one.subscription_id,
      one.plan_code,
      one.features.toSorted(),
      Date.parse(one.access_until),
      one.in_grace,
    ]),
  );
}

/** I8. */
async function booksAgree(system: SimulatedSystem): Promise<Check[]> {
  const ctx = system.operator;
  const ledger = await verifyLedger(ctx);
  const [clock] = await system.query<{ begin: Date; now: Date }>(
    `select min(created_at) as begin, business_now() as now from payment_attempt`,
  );
  const instant = (at: Date) => Temporal.Instant.fromEpochMilliseconds(at.getTime());
  const provider = [...ctx.providers.values()][0]!;
  const window = { from: instant(clock!.begin), to: instant(clock!.now).add({ milliseconds: 1 }) };
  const books = await reconcile(ctx, { provider, ...window });
  const texts = (list: readonly { class: string; what: string }[]) => list.map((one) => `${one.class}: ${one.what}`);
  return [
    { name: 'the journal is proven', examined: ledger.examined.facts, violations: texts(ledger.list) },
    { name: 'the provider’s books agree', examined: books.examined.succeeded, violations: texts(books.list) },
  ];
}

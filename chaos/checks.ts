import { verifyLedger } from '../src/ledger/verify-ledger.ts';
import { openDomain } from '../src/testing/domain.ts';
import type { World } from '../src/testing/world.ts';

/** One invariant, how many rows it was looked for in, and every row that breaks it. */
export interface Check {
  readonly name: string;
  readonly examined: number;
  readonly broken: readonly string[];
}

/** A check that has looked at nothing has proven nothing. */
export function holds({ examined, broken }: Check): boolean {
  return examined > 0 && broken.length === 0;
}

/** The invariants that every scenario ends with, after faults are off and all that was due is done. */
export async function checkInvariants(world: World): Promise<Check[]> {
  return [
    await oneChargePerPurpose(world),
    await everyChargeIsKnown(world),
    await nothingIsOpen(world),
    await authAgrees(world),
    await ledgerHolds(world),
  ];
}

/** I1, counted in the payment system's own ledger: what was kept of each payment is one charge at most. */
async function oneChargePerPurpose(world: World): Promise<Check> {
  const attempts = await world.query(
    `select p.id, p.status, array_agg(a.id::text) as attempts from payment p join payment_attempt a on a.payment_id = p.id
     group by p.id`,
  );
  const taken = (await world.provider.payments()).filter(({ status }) => status === 'succeeded');
  const byReference = Map.groupBy(taken, ({ reference }) => reference);
  const broken = attempts.flatMap(({ id, status, attempts: ids }) => {
    const charges = (ids as string[]).flatMap((attempt) => byReference.get(attempt) ?? []);
    const kept = charges.filter(({ amount_minor, refunded_minor }) => amount_minor !== refunded_minor).length;
    // What was owed and given back afterwards was taken all the same; what was not owed must have gone back.
    const isRight = status === 'SUCCEEDED' ? charges.length > 0 && kept <= 1 : kept === 0;
    return isRight ? [] : [`payment ${String(id)} is ${String(status)}: ${charges.length} charges, ${kept} kept`];
  });
  return { name: 'one charge per purpose', examined: attempts.length, broken };
}

/** Money in the payment system's ledger belongs to an attempt of ours that says so. */
async function everyChargeIsKnown(world: World): Promise<Check> {
  const known = new Set(
    (await world.query(`select id::text from payment_attempt where state = 'SUCCEEDED'`)).map(({ id }) => String(id)),
  );
  const charges = (await world.provider.payments()).filter(({ status }) => status === 'succeeded');
  const broken = charges.filter(({ reference }) => !known.has(reference)).map(({ id }) => `charge ${id} is nobody's`);
  return { name: 'every charge is known', examined: charges.length, broken };
}

/** I2 and I3: nothing stays pending, sent, unknown, undelivered or unpublished. */
async function nothingIsOpen(world: World): Promise<Check> {
  const rows = await world.query(
    `select 'attempt ' || id as what, state not in ('SUCCEEDED', 'DECLINED', 'DEAD') as open, state from payment_attempt
     union all select 'refund ' || id, state = 'PENDING', state from refund
     union all select 'notice ' || provider_event_id, state = 'RECEIVED', state from webhook_event
     union all select 'message ' || event_id, published_at is null, '' from outbox_message`,
  );
  const broken = rows.filter(({ open }) => open).map(({ what, state }) => `${String(what)} is open ${String(state)}`);
  return { name: 'nothing is open for ever', examined: rows.length, broken };
}

/** I5: what Auth knows of each user is what the database has. */
async function authAgrees(world: World): Promise<Check> {
  const rows = await world.query(`select user_id::text as id, version::text as version, grants from entitlement`);
  const broken: string[] = [];
  for (const { id, version, grants } of rows) {
    const user = await world.auth.user(String(id));
    const ours = (grants as { access_until: string }[]).map(({ access_until }) => Date.parse(access_until));
    const theirs = user.grants.map(({ access_until }) => Date.parse(access_until));
    if (String(user.version) !== version || String(ours) !== String(theirs)) {
      broken.push(`user ${String(id)} has version ${String(version)}, Auth has ${user.version}`);
    }
  }
  return { name: 'Auth has what the database has', examined: rows.length, broken };
}

/** I8: the journal is whole, and it and the books tell the same. */
async function ledgerHolds(world: World): Promise<Check> {
  const domain = await openDomain(world);
  try {
    const { list, examined } = await verifyLedger(domain.ctx);
    return {
      name: 'the ledger is verified',
      examined: examined.facts,
      broken: list.map((finding) => `${finding.class}: ${finding.what}`),
    };
  } finally {
    await domain.stop();
  }
}

import { withClient } from '../postgres-server.ts';

/** Each a way of counting renewals that only a complete one adds to. */
const counts = {
  subscriptions: `select count(*) from subscription where cycle = 1 and status = 'ACTIVE' and open_payment_id is null
    and current_period_start = anchor_at + interval '1 month' and current_period_end = anchor_at + interval '2 months'
    and next_charge_at = current_period_end`,
  payments: `select count(*) from payment where purpose = 'cycle:1' and status = 'SUCCEEDED' and settled_at is not null`,
  attempts: `select count(*) from payment_attempt where kind = 'charge' and state = 'SUCCEEDED'
    and provider_payment_id is not null`,
  history: `select count(*) from subscription_event where kind = 'RENEWED' and before <> after`,
  entitlements: `select count(*) from entitlement where version = 2 and rights_version = 1
    and (grants -> 0 ->> 'access_until')::timestamptz > '2027-03-15'`,
  facts: `select count(*) from journal_fact f join journal_batch b using (lane, sequence)
    where f.kind = 'CHARGED' and f.period_start is not null`,
  messages: `select count(*) from outbox_message where version = 2 and kind = 'EXTENDED' and published_at is null`,
};

/** How many renewals the database has, whole in every table. Throws where it is not as many as were due. */
export async function countRenewed(url: string, due: number): Promise<number> {
  const columns = Object.entries(counts).map(([name, count]) => `(${count})::int as ${name}`);
  const found = await withClient(url, async (client) => {
    const { rows } = await client.query<Record<string, number>>(`select ${columns.join(', ')}`);
    return rows[0]!;
  });
  const wrong = Object.entries(found).filter(([, count]) => count !== due);
  if (wrong.length > 0) {
    throw new Error(`of ${due} renewals: ${wrong.map(([name, count]) => `${count} ${name}`).join(', ')}`);
  }
  return found['payments']!;
}

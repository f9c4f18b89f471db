import type { Check } from './checks.ts';
import type { SimulatedSystem } from './simulated-system.ts';

interface OursRow {
  attempt_id: string;
  payment_id: string;
  purpose: string;
  status: string;
  amount_minor: string;
}

/** I1, counted in the payment system's ledger: what was not given back whole is there once per purpose. */
export async function chargesAreOnce(system: SimulatedSystem): Promise<Check> {
  const ours = await system.query<OursRow>(
    `select a.id as attempt_id, p.id as payment_id, p.purpose, p.status, p.amount_minor::text
     from payment_attempt a join payment p on p.id = a.payment_id`,
  );
  const byAttempt = new Map(ours.map((row) => [row.attempt_id, row]));
  const charges = (await system.paymentSystem.payments()).filter(
    (charge) => charge.status === 'succeeded' && charge.amount_minor !== '0',
  );
  const violations: string[] = [];
  const kept = new Map<string, number>();
  const taken = new Set<string>();
  for (const { reference, amount_minor: amount, refunded_minor: refunded } of charges) {
    const payment = byAttempt.get(reference);
    if (!payment) {
      violations.push(`a charge of ${amount} has no attempt of ours: ${reference}`);
      continue;
    }
    taken.add(payment.payment_id);
    if (amount !== payment.amount_minor) violations.push(`payment ${payment.payment_id}: ${amount} was taken`);
    if (refunded === amount) continue;
    kept.set(payment.payment_id, (kept.get(payment.payment_id) ?? 0) + 1);
    if (payment.status !== 'SUCCEEDED') violations.push(`payment ${payment.payment_id} is ${payment.status} and kept`);
  }
  for (const [paymentId, count] of kept) {
    if (count > 1) violations.push(`payment ${paymentId} was taken ${count} times`);
  }
  for (const row of ours) {
    const isUntaken = row.status === 'SUCCEEDED' && row.amount_minor !== '0' && !taken.has(row.payment_id);
    if (isUntaken) violations.push(`payment ${row.payment_id} (${row.purpose}) succeeded and was never taken`);
  }
  return { name: 'one charge per purpose', examined: charges.length, violations };
}

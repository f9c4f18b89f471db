import { OutcomeUnknown, type DisputeOutcome } from '../../provider.ts';
import { fieldsOf, idForm, text } from './sandbox-fields.ts';

const statuses: Readonly<Record<string, DisputeOutcome['status']>> = {
  withdrawn: 'withdrawn',
  won: 'reinstated',
  lost: 'lost',
};

/** Reads a dispute; another one is none. Throws OutcomeUnknown. */
export function readDispute(answer: unknown, id: string): DisputeOutcome {
  try {
    const dispute = fieldsOf(answer);
    const status = statuses[text(dispute, 'status', idForm)];
    if (dispute['id'] !== id || status === undefined) throw new Error('another dispute, or no status of one');
    return {
      providerDisputeId: id,
      payment: {
        providerPaymentId: text(dispute, 'payment', idForm),
        reference: text(dispute, 'payment_reference', idForm),
      },
      status,
      amount: {
        currencyCode: text(dispute, 'currency', /^[A-Z]{3}$/),
        amountMinor: BigInt(text(dispute, 'amount_minor', /^[0-9]{1,18}$/)),
      },
      reason: text(dispute, 'reason', idForm),
    };
  } catch (cause) {
    throw new OutcomeUnknown('the payment system answered with something that is not the dispute', { cause });
  }
}

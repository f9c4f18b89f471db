import { OutcomeUnknown, type DisputeOutcome, type DisputePage } from '../../provider.ts';
import { fieldsOf, idForm, text } from './sandbox-fields.ts';

const statuses: Readonly<Record<string, DisputeOutcome['status']>> = {
  withdrawn: 'withdrawn',
  won: 'reinstated',
  lost: 'lost',
};

/** Reads a dispute; another one is none. Throws OutcomeUnknown. */
export function readDispute(answer: unknown, id: string): DisputeOutcome {
  try {
    const outcome = outcomeOf(answer);
    if (outcome.providerDisputeId !== id) throw new Error('another dispute');
    return outcome;
  } catch (cause) {
    throw new OutcomeUnknown('the payment system answered with something that is not the dispute', { cause });
  }
}

/** Reads a page of the list of disputes. Throws OutcomeUnknown. */
export function readDisputePage(answer: unknown): DisputePage {
  try {
    const { data, has_more: hasMore } = fieldsOf(answer);
    if (!Array.isArray(data) || typeof hasMore !== 'boolean') throw new Error('not a page');
    const disputes = data.map(outcomeOf);
    const last = disputes.at(-1)?.providerDisputeId;
    if (hasMore && last === undefined) throw new Error('an empty page cannot have a next one');
    return { disputes, nextCursor: hasMore ? last : undefined };
  } catch (cause) {
    throw new OutcomeUnknown('the payment system answered with something that is not a list of disputes', { cause });
  }
}

function outcomeOf(answer: unknown): DisputeOutcome {
  const dispute = fieldsOf(answer);
  const status = statuses[text(dispute, 'status', idForm)];
  if (status === undefined) throw new Error('no status of a dispute');
  return {
    providerDisputeId: text(dispute, 'id', idForm),
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
}

import { defineEntity, p } from '@mikro-orm/core';
import { instant } from '../db/instant-type.ts';

/** OPEN: the bank has taken the money until it is decided. LOST: it stays away. REINSTATED: it came back. */
export type DisputeState = 'OPEN' | 'LOST' | 'REINSTATED';

export const DisputeSchema = defineEntity({
  name: 'Dispute',
  tableName: 'dispute',
  properties: {
    id: p.uuid().primary(),
    attemptId: p.uuid(),
    provider: p.text(),
    merchantAccount: p.text(),
    providerDisputeId: p.text(),
    amountMinor: p.bigint(),
    currencyCode: p.text(),
    /** The provider's code. */
    reason: p.text(),
    state: p.text().$type<DisputeState>(),
    /** When the provider is asked again, should its notice be lost; business time. */
    nextCheckAt: instant().strictNullable(),
    openedAt: instant(),
    closedAt: instant().strictNullable(),
  },
});

/** A cardholder says to the bank that a charge was none of theirs. */
export class Dispute extends DisputeSchema.class {}
DisputeSchema.setClass(Dispute);

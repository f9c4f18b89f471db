import type {
  ClockSetting,
  DisputeObject,
  Ending,
  LedgerLine,
  PaymentObject,
  RefundObject,
  SavedMethod,
  Script,
} from './ledger-line.ts';
import { applyWebhook, type WebhookState } from './webhook.ts';

/** What a call with an idempotency key did. */
export interface UsedKey {
  readonly requestHash: string;
  readonly answered: boolean;
  readonly failed: boolean;
  /** Undefined when nothing was executed. */
  readonly answer: PaymentObject | RefundObject | undefined;
}

/** Everything the system knows, as the ledger's lines tell it. */
export interface State extends WebhookState {
  /** In creation order. */
  readonly payments: Map<string, PaymentObject>;
  readonly paymentIds: string[];
  readonly positions: Map<string, number>;
  readonly byReference: Map<string, string[]>;
  readonly returnUrls: Map<string, string>;
  /** Of what waits for the customer: payment id → when it expires, ms since the epoch. */
  readonly expiries: Map<string, number>;
  /** Id of a payment or refund under way → how it ends by itself. */
  readonly endings: Map<string, Ending>;
  /** The merchant's customer reference → our customer id, and back. */
  readonly customers: Map<string, string>;
  readonly customerReferences: Map<string, string>;
  readonly methods: Map<string, SavedMethod>;
  readonly refunds: Map<string, RefundObject>;
  readonly refundsByReference: Map<string, string[]>;
  readonly disputes: Map<string, DisputeObject>;
  readonly keys: Map<string, UsedKey>;
  /** Customer reference → what is still to be played. */
  readonly scripts: Map<string, Script>;
  /** Undefined while there are no random faults. */
  faultSeed: number | undefined;
  /** Key → how often a random fault hit it. */
  readonly hits: Map<string, number>;
  clock: ClockSetting | undefined;
  /** Of the last line; undefined before the first. By the test clock. */
  latestAt: string | undefined;
}

/** The state before the first line. */
export function emptyState(): State {
  return {
    payments: new Map(),
    paymentIds: [],
    positions: new Map(),
    byReference: new Map(),
    returnUrls: new Map(),
    expiries: new Map(),
    endings: new Map(),
    customers: new Map(),
    customerReferences: new Map(),
    methods: new Map(),
    refunds: new Map(),
    refundsByReference: new Map(),
    disputes: new Map(),
    keys: new Map(),
    webhooks: [],
    pendingWebhooks: new Map(),
    scripts: new Map(),
    faultSeed: undefined,
    hits: new Map(),
    clock: undefined,
    latestAt: undefined,
  };
}

/** Takes one line into the state. The same lines in the same order always give the same state. */
export function applyLine(state: State, line: LedgerLine): void {
  state.latestAt = line.at;
  if (line.payment) applyPayment(state, line.payment);
  if (line.payment && line.return_url) state.returnUrls.set(line.payment.id, line.return_url);
  if (line.method) state.methods.set(line.method.id, line.method);
  if (line.refund) applyRefund(state, line.refund);
  if (line.dispute) state.disputes.set(line.dispute.id, line.dispute);
  if (line.ending) state.endings.set((line.refund ?? line.payment)!.id, line.ending);
  if (line.clock) state.clock = line.clock;
  if (line.key) {
    const { key, request_hash: requestHash, answered, failed = false } = line.key;
    state.keys.set(key, { requestHash, answered, failed, answer: line.refund ?? line.payment });
  }
  if (line.script) state.scripts.set(line.script.customer_reference, line.script);
  if (line.fault_seed !== undefined) state.faultSeed = line.fault_seed ?? undefined;
  if (line.hit_key) state.hits.set(line.hit_key, (state.hits.get(line.hit_key) ?? 0) + 1);
  applyWebhook(state, line);
}

function applyPayment(state: State, payment: PaymentObject): void {
  const { id, reference, customer } = payment;
  if (!state.payments.has(id)) {
    state.positions.set(id, state.paymentIds.length);
    state.paymentIds.push(id);
    const same = state.byReference.get(reference);
    if (same) same.push(id);
    else state.byReference.set(reference, [id]);
    state.customers.set(payment.customer_reference, customer);
    state.customerReferences.set(customer, payment.customer_reference);
  }
  state.payments.set(id, payment);
  if (payment.status === 'open' || payment.status === 'requires_action') {
    state.expiries.set(id, Date.parse(payment.expires_at!));
  } else state.expiries.delete(id);
  if (payment.status !== 'processing') state.endings.delete(id);
}

function applyRefund(state: State, refund: RefundObject): void {
  const { id, reference } = refund;
  if (!state.refunds.has(id)) {
    state.refundsByReference.set(reference, [...(state.refundsByReference.get(reference) ?? []), id]);
  }
  state.refunds.set(id, refund);
  if (refund.status !== 'pending') state.endings.delete(id);
}

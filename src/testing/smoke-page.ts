import { randomUUID } from 'node:crypto';
import type { ExecutionContext } from 'ava';
import type { CheckoutRequest, PaymentProvider } from '../payments/provider.ts';

/** Ours of a payment system that may be a real one in its test mode: books of others are beside it. */
export function smokeRequest(amount: CheckoutRequest['amount']): CheckoutRequest {
  const reference = randomUUID();
  return {
    mode: 'payment',
    idempotencyKey: `pay_${reference}_1`,
    reference,
    amount,
    customerReference: randomUUID(),
    description: 'Smoke test, nobody pays',
    returnUrl: 'https://cinema.example/done',
  };
}

/** What can be seen of a page that nobody pays on: one page per key, found by id and reference, and on the list. */
export async function smokePage(
  t: ExecutionContext,
  provider: PaymentProvider,
  request: CheckoutRequest,
): Promise<void> {
  const from = Temporal.Now.instant().subtract({ minutes: 10 });
  const page = await provider.startCheckout(request);
  t.regex(page.url, /^https?:\/\//);
  t.is(
    (await provider.startCheckout(request)).providerPaymentId,
    page.providerPaymentId,
    'the same key, the same page',
  );
  const { providerPaymentId } = page;
  const { reference } = request;
  t.like(await provider.lookUp({ providerPaymentId, reference }), { kind: 'waiting', providerPaymentId });
  t.like(await provider.lookUp({ reference }), { kind: 'waiting', providerPaymentId });
  if (!provider.capabilities.canCloseCheckout) return;
  t.is((await provider.expireCheckout(providerPaymentId)).kind, 'dead');
  t.is((await provider.lookUp({ providerPaymentId, reference }))?.kind, 'dead');
  t.is(Temporal.Instant.compare(from, page.expiresAt), -1);
}

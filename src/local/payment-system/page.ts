import type { IncomingMessage } from 'node:http';
import { goodCardNumber, readCard, verdictOnPage, type Card, type Verdict } from './cards.ts';
import { tryCard } from './checkouts.ts';
import { never, readBody, type Answer } from './http.ts';
import { endedPage, missingPage, openPage, pageHeaders } from './page-html.ts';
import type { PaymentObject } from './ledger-line.ts';
import { doWhatIsDue, type System } from './system.ts';

const refusedByHand: Verdict = { kind: 'declined', code: 'card_declined', hard: false };

/** Answers `GET` and `POST /pay/{id}`: the page on which a customer pays. */
export async function answerPage(system: System, request: IncomingMessage, url: URL): Promise<Answer | typeof never> {
  const id = url.pathname.slice('/pay/'.length);
  const isPost = request.method === 'POST';
  const form = isPost ? new URLSearchParams(await readBody(request)) : undefined;
  await doWhatIsDue(system);
  const payment = system.books.state.payments.get(id);
  if (payment?.kind !== 'checkout') return { status: 404, body: missingPage(), headers: pageHeaders() };
  return form === undefined ? show(system, payment) : tryToPay(system, payment, form);
}

function show(system: System, payment: PaymentObject, status = 200, problem?: string): Answer {
  const body = payment.status === 'open' ? openPage(payment, problem) : endedPage(payment);
  return { status, body, headers: pageHeaders(system.books.state.returnUrls.get(payment.id)) };
}

async function tryToPay(system: System, payment: PaymentObject, form: URLSearchParams): Promise<Answer | typeof never> {
  if (payment.status !== 'open') return show(system, payment, 409);
  const isRefusedByHand = form.get('action') === 'decline';
  if (!isRefusedByHand && form.get('action') !== 'pay') return show(system, payment, 400);
  const card = readCard(form.get('card') ?? '') ?? (isRefusedByHand ? readCard(goodCardNumber) : undefined);
  if (card === undefined) return show(system, payment, 422, 'This is not one of the test cards below.');
  return pay(system, payment, card, isRefusedByHand ? refusedByHand : verdictOnPage(card));
}

async function pay(
  system: System,
  before: PaymentObject,
  card: Card,
  verdict: Verdict,
): Promise<Answer | typeof never> {
  const { books, webhooks } = system;
  const line = tryCard(books, before, card, verdict);
  const payment = line.payment!;
  await books.record(line);
  webhooks.deliverDue();
  if (verdict.kind === 'paid-unanswered') return never;
  if (verdict.kind === 'declined') {
    const why = verdict.code.replaceAll('_', ' ');
    return show(system, payment, 200, `The card was declined: ${why}. Nothing was taken; you can try another card.`);
  }
  const returnUrl = books.state.returnUrls.get(payment.id);
  if (returnUrl === undefined) return show(system, payment);
  return { status: 303, body: endedPage(payment), headers: { ...pageHeaders(returnUrl), location: returnUrl } };
}

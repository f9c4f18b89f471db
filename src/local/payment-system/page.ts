import type { IncomingMessage } from 'node:http';
import { goodCardNumber, readCard, verdictOnPage, type Card, type Verdict } from './cards.ts';
import { tryCard } from './checkouts.ts';
import { never, readBody, type Answer } from './http.ts';
import { actionPage, endedPage, missingPage, openPage, pageHeaders } from './page-html.ts';
import type { PaymentObject } from './ledger-line.ts';
import { doWhatIsDue, type System } from './system.ts';
import { answerAction } from './under-way.ts';

const refusedByHand: Verdict = { kind: 'declined', code: 'card_declined', hard: false };

/** Answers `GET` and `POST /pay/{id}`: the page on which a customer pays, saves a card or confirms a charge. */
export async function answerPage(system: System, request: IncomingMessage, url: URL): Promise<Answer | typeof never> {
  const id = url.pathname.slice('/pay/'.length);
  const isPost = request.method === 'POST';
  const form = isPost ? new URLSearchParams(await readBody(request)) : undefined;
  await doWhatIsDue(system);
  const payment = system.books.state.payments.get(id);
  if (payment === undefined || (payment.page_url ?? payment.action_url) === null)
    return { status: 404, body: missingPage(), headers: pageHeaders() };
  if (form === undefined) return show(system, payment);
  return payment.kind === 'off_session' ? confirm(system, payment, form) : tryToPay(system, payment, form);
}

function show(system: System, payment: PaymentObject, status = 200, problem?: string): Answer {
  const body = pageOf(payment, problem);
  return { status, body, headers: pageHeaders(system.books.state.returnUrls.get(payment.id)) };
}

function pageOf(payment: PaymentObject, problem: string | undefined): string {
  if (payment.status === 'requires_action') return actionPage(payment);
  return payment.status === 'open' ? openPage(payment, problem) : endedPage(payment);
}

async function confirm(system: System, payment: PaymentObject, form: URLSearchParams): Promise<Answer> {
  if (payment.status !== 'requires_action') return show(system, payment, 409);
  const action = form.get('action');
  if (action !== 'confirm' && action !== 'refuse') return show(system, payment, 400);
  const line = answerAction(system.books, payment, action === 'confirm');
  await system.books.record(line);
  system.webhooks.deliverDue();
  return show(system, line.payment!);
}

async function tryToPay(system: System, payment: PaymentObject, form: URLSearchParams): Promise<Answer | typeof never> {
  if (payment.status !== 'open') return show(system, payment, 409);
  const isRefusedByHand = form.get('action') === 'decline';
  if (!isRefusedByHand && form.get('action') !== 'pay') return show(system, payment, 400);
  const typed = (number: string): Card | undefined => readCard(number, system.apiKey);
  const card = typed(form.get('card') ?? '') ?? (isRefusedByHand ? typed(goodCardNumber) : undefined);
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

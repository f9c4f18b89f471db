import { createHash } from 'node:crypto';
import { goodCardNumber, testCards } from './cards.ts';
import type { PaymentObject } from './ledger-line.ts';

const style = `
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5d6878; --line: #dfe3ea; --paper: #fff; --ground: #f3f5f8;
  --accent: #2456c7; --bad: #a32020; --good: #17694a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ebf0; --soft: #a0a9b8; --line: #363e4b; --paper: #1d232d;
  --ground: #12161d; --accent: #6b95f2; --bad: #f08a8a; --good: #6fcba4; } }
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1.5rem; background: var(--ground);
  color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
main { width: 100%; max-width: 27rem; background: var(--paper); border: 1px solid var(--line); border-radius: 14px;
  padding: 2rem; }
.notice { margin: 0 0 1.5rem; color: var(--soft); font-size: .8125rem; }
h1 { margin: 0; font-size: 1rem; font-weight: 500; overflow-wrap: anywhere; }
.amount { margin: .25rem 0 1.5rem; font-size: 2.25rem; line-height: 1.2; font-weight: 600;
  font-variant-numeric: tabular-nums; }
label { display: block; margin-bottom: .375rem; font-size: .875rem; font-weight: 500; }
input { width: 100%; padding: .75rem .875rem; border: 1px solid var(--line); border-radius: 8px; background: var(--paper);
  color: var(--ink); font: inherit; font-variant-numeric: tabular-nums; letter-spacing: .04em; }
.buttons { display: flex; gap: .75rem; margin-top: 1rem; }
button { flex: 1; padding: .75rem; border: 1px solid var(--line); border-radius: 8px; background: none;
  color: var(--ink); font: inherit; font-weight: 600; cursor: pointer; }
button.pay { flex: 2; border-color: var(--accent); background: var(--accent); color: var(--paper); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.problem { margin: 0 0 1rem; color: var(--bad); }
.result { margin: 0; font-weight: 600; }
.result.good { color: var(--good); }
details { margin-top: 1.75rem; padding-top: 1.25rem; border-top: 1px solid var(--line); font-size: .8125rem; }
summary { cursor: pointer; color: var(--soft); }
dl { margin: .75rem 0 0; }
dt { margin-top: .5rem; font-variant-numeric: tabular-nums; }
dd { margin: 0; color: var(--soft); }
`;

const styleHash = createHash('sha256').update(style).digest('base64');

/** The page of an open payment or set-up: what for, how much, a card, two buttons. `problem` is of the try before. */
export function openPage(payment: PaymentObject, problem?: string): string {
  const cards = testCards().map(({ number, help }) => `<dt>${escapeHtml(number)}</dt><dd>${escapeHtml(help)}</dd>`);
  const isSetup = payment.mode === 'setup';
  return frame(
    isSetup ? 'Save a card' : 'Payment',
    `${heading(payment)}
${problem === undefined ? '' : `<p class="problem" role="alert">${escapeHtml(problem)}</p>`}
<form method="post" action="/pay/${encodeURIComponent(payment.id)}">
<label for="card">Card number</label>
<input id="card" name="card" value="${goodCardNumber}" inputmode="numeric" autocomplete="off" maxlength="23" required>
<div class="buttons">
<button class="pay" name="action" value="pay">${isSetup ? 'Save the card' : `Pay ${escapeHtml(amountText(payment))}`}</button>
<button name="action" value="decline">Decline</button>
</div>
</form>
<details open><summary>Test cards</summary><dl>${cards.join('')}</dl></details>`,
  );
}

/** The page of a charge that the customer has to confirm: what for, how much, Confirm and Refuse. */
export function actionPage(payment: PaymentObject): string {
  const { brand, last4 } = payment.payment_method!;
  return frame(
    'Confirm a payment',
    `${heading(payment)}
<p>From your ${escapeHtml(brand)} card ending in ${escapeHtml(last4)}. Is this you?</p>
<form method="post" action="/pay/${encodeURIComponent(payment.id)}">
<div class="buttons">
<button class="pay" name="action" value="confirm">Confirm ${escapeHtml(amountText(payment))}</button>
<button name="action" value="refuse">Refuse</button>
</div>
</form>`,
  );
}

/** The page of a payment or set-up that is over. */
export function endedPage(payment: PaymentObject): string {
  const isPaid = payment.status === 'succeeded';
  const done = payment.mode === 'setup' ? 'Saved' : 'Paid';
  const result = isPaid
    ? `${done === 'Paid' ? 'Paid with' : 'Saved'} ${payment.payment_method!.brand} ending in ${payment.payment_method!.last4}`
    : payment.status === 'declined'
      ? 'You have refused this payment and nothing was taken'
      : 'This page has expired and nothing was taken';
  return frame(
    isPaid ? done : payment.status === 'declined' ? 'Refused' : 'Expired',
    `${heading(payment)}<p class="result${isPaid ? ' good' : ''}" role="status">${escapeHtml(result)}</p>`,
  );
}

/** The page of an address that belongs to no payment. */
export function missingPage(): string {
  return frame('Not found', '<h1>There is no payment at this address</h1>');
}

/**
 * What a browser may do with a page: its own style, its own form, no scripts, no frames around it. Browsers hold the
 * redirect after a form to `form-action` too, so the origin of the return address has to be in it.
 */
export function pageHeaders(returnUrl = ''): Record<string, string> {
  const formTargets = ["'self'", ...(returnUrl === '' ? [] : [new URL(returnUrl).origin])].join(' ');
  return {
    'content-security-policy':
      `default-src 'none'; style-src 'sha256-${styleHash}'; form-action ${formTargets}; ` +
      "base-uri 'none'; frame-ancestors 'none'",
    'x-frame-options': 'DENY',
    'referrer-policy': 'no-referrer',
  };
}

/** An amount with the decimals of its currency, exact at any size: `599.00` for 59900 RUB, `500` for 500 JPY. */
export function amountText({ amount_minor, currency }: Pick<PaymentObject, 'amount_minor' | 'currency'>): string {
  const format = new Intl.NumberFormat('en', { style: 'currency', currency, currencyDisplay: 'narrowSymbol' });
  const decimals = format.resolvedOptions().maximumFractionDigits ?? 2;
  // A numeric text is formatted exactly; a number would round large amounts.
  return format.format(`${amount_minor}E-${decimals}` as `${number}`);
}

function heading(payment: PaymentObject): string {
  const amount = payment.mode === 'setup' ? 'Nothing is taken now' : amountText(payment);
  return `<h1>${escapeHtml(payment.description || 'Payment')}</h1><p class="amount">${escapeHtml(amount)}</p>`;
}

function frame(title: string, content: string): string {
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title><style>${style}</style></head>
<body><main><p class="notice">Sandbox: no real money moves here</p>
${content}
</main></body></html>`;
}

function escapeHtml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;');
}

import { createHash } from 'node:crypto';
import { goodCardNumber } from './cards.ts';

/** What a page is about. */
export interface PageView {
  readonly title: string;
  /** For a person: `299.00 RUB`; empty where nothing is taken. */
  readonly amount: string;
  readonly isOpen: boolean;
  /** The bank asks: there is no card to type. */
  readonly isConfirmation: boolean;
}

const style = `
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; }
main { max-width: 26rem; margin: 12vh auto; padding: 0 1.5rem; }
h1 { font-size: 1.25rem; margin: 0; }
.amount { font-size: 2rem; font-weight: 600; margin: .25rem 0 1.5rem; }
label { display: block; margin-bottom: .25rem; }
input, button { font: inherit; padding: .625rem .75rem; border-radius: 6px; border: 1px solid gray; }
input { width: 100%; box-sizing: border-box; margin-bottom: 1rem; }
.note { color: gray; font-size: .875rem; margin-top: 2rem; }
`;

export const pageHeaders = {
  'content-type': 'text/html; charset=utf-8',
  'cache-control': 'no-store',
  'content-security-policy': `default-src 'none'; style-src 'sha256-${createHash('sha256').update(style).digest('base64')}'; frame-ancestors 'none'`,
};

/** The page as a person sees it. */
export function pageHtml(name: string, { title, amount, isOpen, isConfirmation }: PageView): string {
  const card = `<label for="card">Card number</label>
<input id="card" name="card" value="${goodCardNumber}" inputmode="numeric" autocomplete="off">`;
  const form = `<form method="post">${isConfirmation ? '' : card}
<button name="action" value="pay">${isConfirmation ? 'Confirm' : 'Pay'}</button>
<button name="action" value="decline">Decline</button></form>`;
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>${escapeHtml(title)}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>${style}</style></head><body><main>
<h1>${escapeHtml(title)}</h1><p class="amount">${escapeHtml(amount)}</p>
${isOpen ? form : '<p>This page is closed.</p>'}
<p class="note">A double of ${escapeHtml(name)}: no real money moves.</p></main></body></html>`;
}

function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
}

/** A demo operator whom anybody may be. */
export interface DemoOperator {
  readonly sub: string;
  readonly name: string;
  readonly role: 'read_only' | 'support' | 'admin';
  readonly may: string;
}

export const demoOperators: readonly DemoOperator[] = [
  { sub: 'anna', name: 'Anna Petrova', role: 'admin', may: 'Everything: plans and prices, refunds without a limit' },
  { sub: 'sofia', name: 'Sofia Belova', role: 'support', may: 'Viewers: cancel, extend, give, refund within limits' },
  { sub: 'viktor', name: 'Viktor Orlov', role: 'read_only', may: 'Looks at everything, changes nothing' },
];

const style = `
:root{color-scheme:light dark;--ground:#f4f2f7;--card:#fff;--text:#1d1726;--dim:#675f73;--line:#e5e0ec;--accent:#6b3fd4}
@media(prefers-color-scheme:dark){:root{--ground:#14111a;--card:#1e1927;--text:#f1edf7;--dim:#a79fb5;--line:#352d42;--accent:#b196ff}}
*{box-sizing:border-box}body{margin:0;min-height:100vh;display:grid;place-items:center;background:var(--ground);
color:var(--text);font:16px/1.45 system-ui,sans-serif;padding:24px}main{width:100%;max-width:430px}
h1{font-size:24px;margin:0 0 4px;letter-spacing:-.01em}p{margin:0 0 20px;color:var(--dim)}
button{display:flex;gap:14px;align-items:center;width:100%;text-align:left;font:inherit;color:inherit;background:var(--card);
border:1px solid var(--line);border-radius:14px;padding:14px 16px;margin:0 0 10px;cursor:pointer}
button:hover,button:focus-visible{border-color:var(--accent);outline:none;box-shadow:0 0 0 1px var(--accent)}
i{font-style:normal;flex:none;width:42px;height:42px;border-radius:50%;display:grid;place-items:center;color:#fff;
background:#6b3fd4;font-weight:600}b{display:block}small{color:var(--dim)}footer{color:var(--dim);font-size:13px;margin-top:18px}`;

/** Its CSP allows this very style element, and posting to itself with a redirect to the client. */
export function signInPage(hidden: Readonly<Record<string, string>>): string {
  const fields = Object.entries(hidden).map(
    ([name, value]) => `<input type="hidden" name="${escape(name)}" value="${escape(value)}">`,
  );
  const buttons = demoOperators.map(
    ({ sub, name, role, may }) =>
      `<button name="operator" value="${sub}"><i aria-hidden="true">${name[0]}</i><span><b>${name} · ${role}</b>` +
      `<small>${may}</small></span></button>`,
  );
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Sign in · Auth double</title>
<meta name="viewport" content="width=device-width,initial-scale=1"><style>${style}</style></head>
<body><main><h1>Who are you today?</h1><p>A demo operator of the cinema. Nobody needs a password here.</p>
<form method="post" action="/authorize">${fields.join('')}${buttons.join('')}</form>
<footer>This is the Auth double of the local default. In production this is your own sign-in.</footer>
</main></body></html>`;
}

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
}

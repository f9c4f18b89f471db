import test from 'ava';
import type { Browser, Locator } from 'playwright-core';
import { startLocalSystem, type LocalSystem } from '../testing/local-system.ts';
import { panelRoutes } from '../testing/panel-routes.ts';
import { openBrowser, seen, signIn } from '../testing/panel.ts';

const hostile = `"><img src=x onerror=alert(1)><script>alert(2)</script>'{{7*7}}\${7*7}javascript:alert(3)\u202e`;
const viewer = '00000000-0000-4000-8000-000000000001';
const dialogOpensMs = 500;
const buttonMaxMs = 2_000;
/** Take text; a number's field takes digits only, and a list's none. */
const textFields =
  ':is(input:not([type=checkbox], [type=radio], [type=date], [type=hidden]), textarea):not([readonly]):visible';

/** Every field that takes text, by hand: a new one is looked at before it is written here. */
const expected: Record<string, string[]> = {
  '/': [],
  '/plans': [],
  '/plans New plan': ['Code', 'Name', 'Description', 'Features', 'Trial days', 'Amount', 'Every', 'Reason'],
  '/plans/:id': [],
  '/plans/:id Edit': ['Name', 'Description', 'Features', 'Trial days', 'Reason'],
  '/plans/:id New price': ['Amount', 'Every', 'Reason'],
  '/plans/:id Archive': ['Reason'],
  '/plans/:id Delete': ['Reason'],
  '/promo-codes': [],
  '/promo-codes New promo code': [
    'Promo code',
    'Percent off',
    'Payments made cheaper',
    'Viewers at most (0: all)',
    'Reason',
  ],
  '/users': ['Id of user, subscription, payment; or e-mail', 'Last 4 digits', 'Amount, RUB'],
  '/users/:id': [],
  '/users/:id Cancel at the end': ['Reason'],
  '/users/:id Cancel now': ['Reason'],
  '/users/:id Change the plan': ['Plan and price', 'Reason'],
  '/users/:id Give days': ['Days', 'Reason'],
  '/users/:id Give a plan': ['Plan and price', 'Days', 'Reason'],
  '/users/:id Remove the card': ['Reason'],
  '/users/:id Erase personal data': ['Reason'],
  '/payments': [],
  '/payments/:id': [],
  '/payments/:id Refund': ['Amount, RUB', 'Reason'],
  '/audit': ['Who', 'What'],
  '/sandbox': ['Promo code'],
};

let system: LocalSystem;
let browser: Browser;
test.before(async () => {
  system = await startLocalSystem();
  browser = await openBrowser();
});
test.after.always(async () => {
  await browser?.close();
  await system?.stop();
});

async function fillAll(scope: Locator): Promise<string[]> {
  const names: string[] = [];
  for (const field of await scope.locator(textFields).all()) {
    await field.fill(hostile);
    const name = await field.evaluate((element) => {
      const { labels, ariaLabel } = element as unknown as { labels: { innerText: string }[]; ariaLabel: string | null };
      return labels[0]?.innerText ?? ariaLabel ?? '';
    });
    names.push(name.replace(/\s*\*$/, ''));
  }
  return names;
}

/** Whether the button was on. */
const pressed = (button: Locator): Promise<boolean> =>
  button.click({ timeout: buttonMaxMs }).then(
    () => true,
    () => false,
  );

test('a hostile text runs nothing in any field of any page and any dialog', async (t) => {
  const response = await fetch(`${system.authUrl}/tokens`, {
    method: 'POST',
    body: JSON.stringify({ sub: 'anna', role: 'admin' }),
  });
  const { token } = (await response.json()) as { token: string };
  const panel = await signIn(browser, system.httpUrl, 'anna');
  const main = panel.page.locator('main');
  const filled: Record<string, string[]> = {};
  for (const { route, path } of await panelRoutes(system.grpcAddress, { token, userId: viewer })) {
    await panel.open(path);
    // What is pressed in the sandbox opens no dialog.
    const names = route === '/sandbox' ? [] : await main.locator('button:enabled:visible').allInnerTexts();
    filled[route] = await fillAll(main);
    for (const name of new Set(names)) {
      const button = main.getByRole('button', { name, exact: true }).and(panel.page.locator(':enabled')).first();
      // A search that finds nothing switches off what needs a result, a moment after the text: the page anew has it on.
      if (!panel.page.url().endsWith(`/admin${path}`) || !(await pressed(button))) {
        await panel.open(path);
        await button.click();
      }
      const dialog = panel.page.getByRole('dialog');
      const isOpen = dialog.waitFor({ timeout: dialogOpensMs }).then(
        () => true,
        () => false,
      );
      if (!(await isOpen)) {
        // It may have shown more fields in the page itself.
        if (panel.page.url().endsWith(`/admin${path}`)) filled[route] = await fillAll(main);
        continue;
      }
      filled[`${route} ${name}`] = await fillAll(dialog);
      await panel.page.keyboard.press('Escape');
      await dialog.waitFor({ state: 'detached' });
    }
  }
  t.deepEqual(filled, expected);
  t.deepEqual(
    seen.complaints.filter((complaint) => !/: Failed to load resource: .* 400 /.test(complaint)),
    [],
  );
  await panel.close();
});

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { startLocalSystem } from './local-system.ts';
import { openBrowser, signIn, type Panel } from './panel.ts';

/** Who subscribes, a few days apart, and to what; the last one's renewal is declined. */
const newcomers = ['Standard', 'Premium', 'Standard', 'Basic', 'Premium'];
const daysBetween = 3;
const folder = join(import.meta.dirname, '../../docs/pictures');

/** `npm run pictures`: the panel's pictures in docs/, taken of a system of its own with the demo data and some weeks. */
async function main(): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const system = await startLocalSystem();
  const browser = await openBrowser();
  try {
    const panel = await signIn(browser, system.httpUrl, 'anna', { viewport: { width: 1280, height: 980 } });
    for (const plan of newcomers) await takeOut(panel, plan);
    const { page } = panel;
    const viewer = await page.getByTestId('viewer').innerText();
    const script = page.getByTestId('script');
    await script.getByLabel('The next renewal').click();
    await page.getByRole('option', { name: 'declined, a later try may succeed' }).click();
    await script.getByRole('button', { name: 'Set' }).click();
    await page.evaluate('scrollTo(0, 0)');
    await take(panel, 'sandbox');
    await move(panel, 'Next month');
    await panel.open('/');
    await take(panel, 'overview');
    await panel.open(`/users/${viewer}`);
    await take(panel, 'user');
  } finally {
    await browser.close();
    await system.stop();
  }
}

async function takeOut(panel: Panel, plan: string): Promise<void> {
  await panel.open('/sandbox');
  await panel.press('Another viewer');
  await panel.press(new RegExp(`^Subscribe: ${plan}`));
  await panel.press(/^Pay/);
  await panel.page.waitForURL(/\/admin\/sandbox$/);
  await panel.page.getByTestId('auth').getByText(plan.toLowerCase()).waitFor();
  for (let day = 0; day < daysBetween; day++) await move(panel, 'Next day');
}

async function move({ page }: Panel, button: 'Next day' | 'Next month'): Promise<void> {
  const arrived = page.waitForResponse(
    async (response) => response.url().endsWith('/AdvanceClock') && (await response.text()).includes('"done":true'),
  );
  await page.getByTestId('clock').getByRole('button', { name: button }).click();
  await arrived;
}

async function take({ page }: Panel, name: string): Promise<void> {
  await page.waitForLoadState('networkidle');
  await page.screenshot({ path: join(folder, `${name}.png`), animations: 'disabled' });
  console.log(`docs/pictures/${name}.png`);
}

await main();

import { createRequire } from 'node:module';
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import chromium from '@sparticuz/chromium';
import { chromium as playwright, type Browser, type BrowserContextOptions, type Page } from 'playwright-core';
import { waitUntil } from './wait-until.ts';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const stepMaxMs = 20_000;
/** Runs in the page. */
const showsItself = `!!document.querySelector('h1')?.checkVisibility() && document.querySelector('[aria-busy]') === null`;

export type Operator = 'anna' | 'sofia' | 'viktor';

export interface Panel {
  readonly page: Page;
  /** Opens an address under /admin, as somebody who typed it. */
  open(path: string): Promise<void>;
  /** Presses the button of this name; the first one of several. */
  press(name: string | RegExp): Promise<void>;
  fill(label: string | RegExp, text: string): Promise<void>;
  /** Gives the reason of the open dialog and confirms; resolves when the dialog has gone. */
  confirm(button: string, reason: string): Promise<void>;
  /** What axe calls serious or critical, `rule: selector` each. */
  seriousProblems(): Promise<string[]>;
  close(): Promise<void>;
}

/** Every path under /admin that a panel showed, with ids as `:id`, and all that a console said was wrong. */
export const seen = { paths: new Set<string>(), complaints: [] as string[] };

export async function openBrowser(): Promise<Browser> {
  return playwright.launch({ executablePath: await unpackChromium(), args: ['--no-sandbox'] });
}

/** Into a folder of this process: of two that unpack into one, the first starts what the second is still writing. */
async function unpackChromium(): Promise<string> {
  const shared = tmpdir();
  process.env['TMPDIR'] = mkdtempSync(join(shared, 'chromium-'));
  try {
    return await chromium.executablePath();
  } finally {
    process.env['TMPDIR'] = shared;
  }
}

/** Signs in on the Auth double's page. Policy violations arrive as console errors and land in `seen.complaints`. */
export async function signIn(
  browser: Browser,
  httpUrl: string,
  operator: Operator,
  options: BrowserContextOptions = {},
): Promise<Panel> {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, locale: 'en-GB', ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(stepMaxMs);
  page.on('console', (message) => {
    if (message.type() === 'error') seen.complaints.push(`${message.location().url}: ${message.text()}`);
  });
  page.on('pageerror', (error) => seen.complaints.push(`${page.url()}: ${error.message}`));
  page.on('dialog', (dialog) => {
    seen.complaints.push(`${page.url()}: a hostile text opened a dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on('framenavigated', (frame) => note(new URL(frame.url()).pathname));
  const button = (name: string | RegExp) => page.getByRole('button', { name, exact: typeof name === 'string' }).first();
  await page.goto(`${httpUrl}/admin/`);
  await page.click(`button[value=${operator}]`);
  await page.waitForURL(`${httpUrl}/admin/**`);
  await untilShown(page);
  return {
    page,
    async open(path) {
      await page.goto(`${httpUrl}/admin${path}`);
      await untilShown(page);
    },
    press: (name) => button(name).click(),
    fill: (label, text) => page.getByLabel(label).first().fill(text),
    async confirm(name, reason) {
      const dialog = page.getByRole('dialog');
      await dialog.getByLabel(/^(Reason|Причина)/).fill(reason);
      await dialog.getByRole('button', { name, exact: true }).click();
      await dialog.waitFor({ state: 'detached' });
    },
    async seriousProblems() {
      await page.evaluate(axe);
      return page.evaluate(async () => {
        interface Found {
          violations: { id: string; impact: string; nodes: { target: string[] }[] }[];
        }
        const { violations } = await (globalThis as unknown as { axe: { run(): Promise<Found> } }).axe.run();
        const bad = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
        return bad.flatMap(({ id, nodes }) => nodes.map(({ target }) => `${id}: ${target.join(' ')}`));
      });
    },
    close: () => context.close(),
  };
}

/** Playwright's own waiting for a selector looks only twice a second by the time that a page is there. */
async function untilShown(page: Page): Promise<void> {
  // On the way to the sign-in and back one document after the other goes.
  await waitUntil('the page shows itself', () => page.evaluate<boolean>(showsItself).catch(() => false), stepMaxMs);
}

function note(pathname: string): void {
  if (!pathname.startsWith('/admin')) return;
  const path = pathname.slice('/admin'.length) || '/';
  seen.paths.add(path.replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/, ':id'));
}

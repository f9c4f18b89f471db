import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import test from 'ava';
import { bareEnv } from '../testing/bare-env.ts';
import { startWorld, type World } from '../testing/world.ts';

/** Runs `npm run demo` against a world, as a person would: it finds the system by its data folder. */
async function runDemo(world: World): Promise<{ exitCode: number | null; output: string }> {
  const dataDir = mkdtempSync(join(tmpdir(), 'demo-'));
  try {
    const running = {
      httpUrl: world.service.httpUrl,
      grpcAddress: world.service.grpcAddress,
      authUrl: world.auth.url,
      paymentSystemUrl: world.paymentSystem.url,
    };
    writeFileSync(join(dataDir, 'running.json'), JSON.stringify(running));
    const child = spawn(process.execPath, [join(import.meta.dirname, 'demo.ts')], {
      env: bareEnv({ BILLING_DATA_DIR: dataDir }),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const [out, err] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
    return { exitCode: child.exitCode, output: `${out}${err}` };
  } finally {
    rmSync(dataDir, { recursive: true, force: true });
  }
}

async function demoIn(env: Record<string, string>): Promise<{ exitCode: number | null; output: string }> {
  const world = await startWorld({ demoPlans: true, env: { BILLING_TIME_ZONE: 'Europe/Moscow', ...env } });
  try {
    return await runDemo(world);
  } finally {
    await world.stop();
  }
}

test.serial('the story holds, twice in a row', async (t) => {
  const world = await startWorld({ demoPlans: true, env: { BILLING_TIME_ZONE: 'Europe/Moscow' } });
  try {
    for (const time of ['first', 'second']) {
      const { exitCode, output } = await runDemo(world);
      t.is(exitCode, 0, `${time}: ${output}`);
      t.regex(output, /Every step held/);
      t.regex(output, /card runs dry[^]*declined[^]*in grace[^]*paid at once: active/);
    }
  } finally {
    await world.stop();
  }
});

test('with the relay off the demo fails, because Auth never has the rights', async (t) => {
  const { exitCode, output } = await demoIn({ BILLING_ROLES: 'api,renewals' });
  t.is(exitCode, 1);
  t.regex(output, /✗ Auth has the rights: not within/);
});

test('with the renewal loop off the demo fails, because time does not pass', async (t) => {
  const { exitCode, output } = await demoIn({ BILLING_ROLES: 'api,relay' });
  t.is(exitCode, 1);
  t.regex(output, /✗ time does not pass: 1 charges have to be announced/);
});

test('with a wrong webhook secret the demo fails, because the payment activates nothing', async (t) => {
  const { exitCode, output } = await demoIn({ SANDBOX_PAYMENT_WEBHOOK_SECRET: 'not-the-secret-of-the-payment-system' });
  t.is(exitCode, 1);
  t.regex(output, /✗ the payment system calls back and the subscription is active: not within/);
});

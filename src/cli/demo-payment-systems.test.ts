import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import test from 'ava';
import { bareEnv } from '../testing/bare-env.ts';
import { startLocalSystem } from '../testing/local-system.ts';

const isFull = process.env['BILLING_TEST_TIER'] === 'full';
/** The default tier plays one of them. */
const providers = isFull ? ['stripe', 'yookassa'] : ['stripe'];

for (const provider of providers) {
  test.serial(
    `npm start and npm run demo with PAYMENT_PROVIDER=${provider}: the story holds against its double`,
    async (t) => {
      const system = await startLocalSystem({ PAYMENT_PROVIDER: provider });
      try {
        const child = spawn(process.execPath, [join(import.meta.dirname, 'demo.ts')], {
          env: bareEnv({ BILLING_DATA_DIR: system.dataDir }),
          stdio: ['ignore', 'pipe', 'pipe'],
        });
        const [out, err] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
        t.is(child.exitCode, 0, `${out}${err}`);
        t.regex(out, /Every step held/);
        const page = provider === 'stripe' ? '/c/pay/' : '/checkout/';
        t.true(out.includes(`${system.paymentSystemUrl}${page}`), 'the pages are those of the double');
      } finally {
        await system.stop();
      }
    },
  );
}

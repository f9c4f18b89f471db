import test from 'ava';
import { providerContract } from '../../../testing/provider-contract/contract.ts';
import { startSandboxSubject } from '../../../testing/provider-contract/sandbox-subject.ts';

const { subject, stop } = await startSandboxSubject();
test.after.always(stop);

for (const { title, run } of providerContract) {
  test(title, async (t) => {
    await t.notThrowsAsync(run(subject));
  });
}

import test from 'ava';
import { providerContract } from '../../../testing/provider-contract/contract.ts';
import { startYookassaSubject } from '../../../testing/provider-contract/yookassa-subject.ts';

const { subject, double } = await startYookassaSubject();
test.after.always(() => double.close());

for (const { title, run } of providerContract) {
  test.serial(title, async (t) => {
    await t.notThrowsAsync(run(subject));
  });
}

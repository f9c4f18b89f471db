import test from 'ava';
import { providerContract } from '../../../testing/provider-contract/contract.ts';
import { startStripeSubject } from '../../../testing/provider-contract/stripe-subject.ts';

const { subject, double } = await startStripeSubject();
test.after.always(() => double.close());

for (const { title, run } of providerContract) {
  test.serial(title, async (t) => {
    await t.notThrowsAsync(run(subject));
  });
}

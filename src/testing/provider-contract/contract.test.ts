import test from 'ava';
import { AssertionError } from 'node:assert';
import { brokenProviders } from './broken-providers.ts';
import { providerContract } from './contract.ts';
import { startSandboxSubject } from './sandbox-subject.ts';

const { subject, stop } = await startSandboxSubject();
test.after.always(stop);

for (const { mistake, foundBy, breakIt } of brokenProviders) {
  test(`the contract rejects a provider in which ${mistake}`, async (t) => {
    const check = providerContract.find(({ title }) => title.startsWith(foundBy));
    if (check === undefined) return t.fail(`no check begins with: ${foundBy}`);
    const broken = { ...subject, build: (options = {}) => breakIt(subject.build(options)) };
    await t.notThrowsAsync(check.run(subject), 'the good one passes');
    await t.throwsAsync(check.run(broken), { instanceOf: AssertionError });
  });
}

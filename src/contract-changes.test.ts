import { execFile } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';

const run = promisify(execFile);
const root = join(import.meta.dirname, '..');
const dir = mkdtempSync(join(tmpdir(), 'contract-'));
const image = join(dir, 'base.binpb');

test.before(async () => {
  await run('buf', ['build', 'proto', '-o', image], { cwd: root });
});
test.after.always(() => rmSync(dir, { recursive: true, force: true }));

/** What `buf breaking` says of the contract with this change, against the contract as it is; empty for nothing. */
async function complaintsOf(name: string, file: string, before: string | RegExp, after: string): Promise<string> {
  const folder = join(dir, name);
  cpSync(join(root, 'proto'), join(folder, 'proto'), { recursive: true });
  cpSync(join(root, 'buf.yaml'), join(folder, 'buf.yaml'));
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
  const path = join(folder, 'proto/billing', file);
  const text = readFileSync(path, 'utf8');
  const changed = text.replace(before, after);
  if (changed === text) throw new Error(`${file} has no ${String(before)} to change`);
  writeFileSync(path, changed);
  await run('buf', ['build', 'proto'], { cwd: folder });
  return run('buf', ['breaking', 'proto', '--against', image], { cwd: folder }).then(
    ({ stdout }) => stdout,
    ({ stdout }: { stdout: string }) => stdout,
  );
}

const breaks: [what: string, file: string, before: string | RegExp, after: string, complaint: RegExp][] = [
  ['a renumbered field', 'v1/money.proto', /amount_minor = \d+/, 'amount_minor = 77', /"amount_minor"/],
  ['a field of another type', 'v1/plan.proto', /string name = /, 'bytes name = ', /"name".*type/],
  ['a renamed field', 'events/v1/entitlement_changed.proto', /uint64 version = /, 'uint64 state = ', /"version"/],
  ['a renamed RPC', 'v1/plan_service.proto', /rpc ListPlans\(/, 'rpc AllPlans(', /"ListPlans"/],
];

for (const [what, file, before, after, complaint] of breaks) {
  test(`the check of breaking changes fails on ${what}`, async (t) => {
    t.regex(await complaintsOf(what.replaceAll(' ', '-'), file, before, after), complaint);
  });
}

test('the check of breaking changes lets an added field pass', async (t) => {
  const added = 'message Money {\n  // A remark.\n  string remark = 77;\n';
  t.is(await complaintsOf('added', 'v1/money.proto', /message Money \{\n/, added), '');
});

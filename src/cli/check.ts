import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** `npm run check`: exactly what CI runs beside the tests. Every step runs, whatever the others say. */
const steps: [name: string, run: () => Promise<Result>][] = [
  ['formatting', () => command('oxfmt', '--check', '.')],
  ['lint', () => command('oxlint', '--deny-warnings', '.')],
  ['types', () => command('tsc', '--noEmit', '-p', '.')],
  ['contract lint', () => command('buf', 'lint', 'proto')],
  ['contract formatting', () => command('buf', 'format', '--diff', '--exit-code', 'proto')],
  ['generated code is current', generatedIsCurrent],
  ['no breaking change of the contract', noBreakingChange],
  ['no known hole in what production needs', audit],
];

interface Result {
  ok: boolean;
  output: string;
  /** Said beside the step's name. */
  remark?: string;
}

const root = join(import.meta.dirname, '../..');
const generatedFolders = ['billing', 'buf', 'google', 'grpc'];

async function command(name: string, ...args: string[]): Promise<Result> {
  const child = spawn(name, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += String(chunk)));
  try {
    await once(child, 'close');
  } catch (error) {
    return { ok: false, output: String(error) };
  }
  return { ok: child.exitCode === 0, output };
}

/** Generates into a temporary folder and compares. */
async function generatedIsCurrent(): Promise<Result> {
  return inTemporaryFolder(async (folder) => {
    const generated = await command('buf', 'generate', '--output', folder);
    if (!generated.ok) return generated;
    const differences = await Promise.all(
      generatedFolders.map((name) => command('diff', '-r', join('gen', name), join(folder, 'gen', name))),
    );
    const output = differences.map((difference) => difference.output).join('');
    return { ok: differences.every(({ ok }) => ok), output: `${output}run: npm run generate` };
  });
}

/** Against the newest release: modules under node_modules are not in git, so the release's proto/ is unpacked. */
async function noBreakingChange(): Promise<Result> {
  const tags = await command('git', 'tag', '--list', 'v*', '--sort=-version:refname');
  const [release] = tags.output.split('\n');
  if (!tags.ok || !release) return { ok: true, output: '', remark: 'there is no release to compare with yet' };
  return inTemporaryFolder(async (folder) => {
    const archive = join(folder, 'release.tar');
    const base = join(folder, 'base');
    const image = join(folder, 'base.binpb');
    mkdirSync(base);
    const unpacked = [
      await command('git', 'archive', '-o', archive, release, 'proto', 'buf.yaml'),
      await command('tar', '-xf', archive, '-C', base),
    ].find(({ ok }) => !ok);
    if (unpacked) return unpacked;
    symlinkSync(join(root, 'node_modules'), join(base, 'node_modules'));
    const built = await command('buf', 'build', join(base, 'proto'), '-o', image);
    if (!built.ok) return built;
    return { ...(await command('buf', 'breaking', 'proto', '--against', image)), remark: `against ${release}` };
  });
}

/** A registry without the audit service, or none at all, says nothing about the packages. */
async function audit(): Promise<Result> {
  const { ok, output } = await command('npm', 'audit', '--omit=dev', '--audit-level=high', '--json');
  if (ok) return { ok, output };
  try {
    const report = JSON.parse(output.slice(output.indexOf('{'))) as { metadata?: unknown };
    if (report.metadata !== undefined) return { ok, output };
  } catch {
    // Not a report: told below.
  }
  return { ok: true, output: '', remark: 'the registry did not answer: not checked' };
}

async function inTemporaryFolder(work: (folder: string) => Promise<Result>): Promise<Result> {
  const folder = mkdtempSync(join(tmpdir(), 'check-'));
  try {
    return await work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

let failed = 0;
for (const [name, run] of steps) {
  const startedAt = performance.now();
  process.stdout.write(`  ${name} … `);
  const { ok, output, remark } = await run();
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  console.log(`${ok ? 'ok' : 'FAILED'} (${seconds} s)${remark ? `: ${remark}` : ''}`);
  if (ok) continue;
  failed += 1;
  console.log(output.replaceAll(/^/gm, '    '));
}
console.log(`check: ${steps.length - failed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

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
  ['types of the admin panel', () => command('tsc', '--noEmit', '-p', 'admin-web')],
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
const stepMaxMs = 5 * 60_000;
/** A registry that accepts a connection and says nothing holds up nobody for longer. */
const registryMaxMs = 20_000;

/** Runs a program in the root; `output` has all that it wrote, `stdout` what it wrote there. */
async function command(name: string, ...args: string[]): Promise<Result & { stdout: string }> {
  const child = spawn(name, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], timeout: stepMaxMs });
  let [output, stdout] = ['', ''];
  child.stdout.on('data', (chunk) => (stdout += String(chunk)));
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += String(chunk)));
  try {
    await once(child, 'close');
  } catch (error) {
    return { ok: false, output: String(error), stdout };
  }
  if (child.signalCode !== null) output += `${name} was ended by ${child.signalCode}\n`;
  return { ok: child.exitCode === 0, output, stdout };
}

/** Generates into a temporary folder and compares. */
async function generatedIsCurrent(): Promise<Result> {
  return inTemporaryFolder(async (folder) => {
    const generated = await command('buf', 'generate', '--output', folder);
    if (!generated.ok) return generated;
    const { ok, output } = await command('diff', '-r', '--exclude=package.json', 'gen', join(folder, 'gen'));
    return { ok, output: `${output}run: npm run generate` };
  });
}

/** Against the newest release: modules under node_modules are not in git, so the release's proto/ is unpacked. */
async function noBreakingChange(): Promise<Result> {
  const tags = await command('git', 'tag', '--list', 'v*', '--sort=-version:refname');
  const [release] = tags.stdout.split('\n');
  if (!tags.ok) return { ok: true, output: '', remark: 'this is no git checkout: not checked' };
  if (!release) return { ok: true, output: '', remark: 'no release yet' };
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
  const patience = ['--fetch-retries=0', `--fetch-timeout=${registryMaxMs}`];
  const audited = await command('npm', 'audit', '--omit=dev', '--audit-level=high', '--json', ...patience);
  if (audited.ok) return audited;
  try {
    // What npm warns of or notices goes to the other stream, also behind the report.
    if ('vulnerabilities' in (JSON.parse(audited.stdout) as object)) return audited;
  } catch {
    // Not a report: told below.
  }
  return { ok: true, output: '', remark: 'the registry has no answer to that: not checked' };
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
console.log(`check: ${steps.length - failed} steps passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { AppContext } from '../app.ts';
import { ConfigError } from '../config/config.ts';
import { businessNow } from '../db/clock.ts';
import { describeDatabaseError } from '../db/database-error.ts';
import type { ProviderBooks } from '../ledger/provider-books.ts';
import { reconcile, type ReconcileReport } from '../ledger/reconcile.ts';
import type { LaneHead } from '../ledger/verify-chain.ts';
import { verifyLedger } from '../ledger/verify-ledger.ts';
import { openOperatorApp } from './operator-app.ts';
import { createProgress, describeReport, grouped, type ProofReport } from './report-text.ts';
import { Refusal } from './running-system.ts';

const help = `Proves that the books are true.

  npm run billing -- verify-ledger [--heads FILE]
      the journal: no row changed, missing or moved, periods without holes and overlaps.
      FILE keeps the ends of its chains between runs, so that a lost end shows; keep it away from the database.

  npm run billing -- reconcile [--from WHEN] [--to WHEN]
      the journal against each payment system's own books: payments begun there from WHEN (included) to WHEN (not).
      WHEN is a date (00:00 UTC) or an instant; without them, the 35 days up to now.

It works on the running "npm start", or on what BILLING_DATABASE_URL and the other variables of the service name.
Exit: 0 everything agrees, 1 something does not (or there was nothing to examine), 2 it could not be examined.`;

/** Covers every monthly subscriber at least once. */
const windowDays = 35;

interface Arguments {
  command: string | undefined;
  heads?: string | undefined;
  from?: string | undefined;
  to?: string | undefined;
  help?: boolean | undefined;
}

function readArguments(): Arguments {
  try {
    const options = {
      heads: { type: 'string' },
      from: { type: 'string' },
      to: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    } as const;
    const { values, positionals } = parseArgs({ options, allowPositionals: true });
    if (positionals.length > 1) throw new Error(`one command at a time, not also ${positionals[1]}`);
    return { command: positionals[0], ...values };
  } catch (error) {
    throw new Refusal(`${(error as Error).message.split('. ')[0]}; see --help`, { cause: error });
  }
}

async function runVerifyLedger(ctx: AppContext, { heads: file }: Arguments): Promise<ProofReport> {
  const knownHeads = file !== undefined && existsSync(file) ? readHeads(file) : [];
  const progress = createProgress();
  const report = await verifyLedger(ctx, {
    knownHeads,
    onProgress: (done, total) => progress.show(`verifying: ${grouped(done)} of ${grouped(total)} facts`),
  });
  progress.end();
  const labels = {
    batches: 'batches',
    facts: 'facts',
    periods: 'periods',
    charges: 'charges in our books',
    refunds: 'refunds in our books',
  };
  console.log(describeReport('The journal of money', labels, report));
  if (file !== undefined && report.holds) {
    writeFileSync(file, `${JSON.stringify(report.heads, undefined, 2)}\n`);
    console.log(`The chains' ends (${grouped(report.heads.length)}) are kept in ${file}.`);
  }
  return report;
}

function readHeads(file: string): LaneHead[] {
  try {
    const heads = JSON.parse(readFileSync(file, 'utf8')) as LaneHead[];
    const isHead = ({ lane, sequence, hash }: LaneHead) =>
      Number.isInteger(lane) && /^[0-9]+$/.test(sequence) && /^[0-9a-f]{64}$/.test(hash);
    if (!heads.every(isHead)) throw new Error('not the ends of chains');
    return heads;
  } catch (cause) {
    throw new Refusal(`${file} is not what verify-ledger --heads wrote`, { cause });
  }
}

async function runReconcile(ctx: AppContext, args: Arguments): Promise<Pick<ProofReport, 'holds'>> {
  // A clock that stands still has payments begun at this very instant.
  const now = async () => (await businessNow(ctx.em.fork())).add({ milliseconds: 1 });
  const to = args.to === undefined ? await now() : readWhen('--to', args.to);
  const from = args.from === undefined ? to.subtract({ hours: windowDays * 24 }) : readWhen('--from', args.from);
  if (Temporal.Instant.compare(from, to) >= 0) throw new Refusal('--from has to be before --to');
  const reports: ReconcileReport[] = [];
  for (const provider of ctx.providers.values()) reports.push(await reconcileWith(ctx, provider, { from, to }));
  const hasExamined = reports.some(({ examined }) => examined.succeeded + examined.charges > 0);
  return { holds: hasExamined && reports.every(({ counts }) => counts.size === 0) };
}

async function reconcileWith(
  ctx: AppContext,
  provider: ProviderBooks,
  { from, to }: { from: Temporal.Instant; to: Temporal.Instant },
): Promise<ReconcileReport> {
  const progress = createProgress();
  const report = await reconcile(ctx, { provider, from, to }, (listed, upTo) =>
    progress.show(`reconciling: ${grouped(listed)} payments, up to ${upTo}`),
  ).catch((error: unknown) => {
    if (describeDatabaseError(error)) throw error;
    throw new Refusal(`the payment system cannot be asked: ${(error as Error).message}`, { cause: error });
  });
  progress.end();
  const labels = {
    payments: 'payments at the provider',
    succeeded: 'of them, paid',
    charges: 'charges in the journal',
    underWay: 'under way, not compared',
  };
  const title = `The journal and the payment system "${provider.name}", payments begun from ${from} to ${to}`;
  console.log(describeReport(title, labels, report));
  return report;
}

function readWhen(name: string, text: string): Temporal.Instant {
  try {
    return Temporal.Instant.from(/^\d{4}-\d{2}-\d{2}$/.test(text) ? `${text}T00:00:00Z` : text);
  } catch (cause) {
    throw new Refusal(`${name} is not a date or an instant, such as 2027-01-31 or 2027-01-31T12:00:00Z`, { cause });
  }
}

const commands: Record<string, (ctx: AppContext, args: Arguments) => Promise<Pick<ProofReport, 'holds'>>> = {
  'verify-ledger': runVerifyLedger,
  reconcile: runReconcile,
};

async function main(): Promise<number> {
  const args = readArguments();
  const run = args.command === undefined ? undefined : commands[args.command];
  if (args.help) {
    console.log(help);
    return 0;
  }
  if (!run) throw new Refusal(`the command has to be one of ${Object.keys(commands).join(', ')}; see --help`);
  const app = await openOperatorApp();
  try {
    return (await run(app.contextFor({ kind: 'operator', id: 'command line', role: 'read_only' }), args)).holds ? 0 : 1;
  } catch (error) {
    const known = describeDatabaseError(error);
    throw known ? new Refusal('the database does not answer', { cause: error }) : error;
  } finally {
    await app.stop();
  }
}

main().then(
  (status) => (process.exitCode = status),
  (error: unknown) => {
    const isExpected = error instanceof Refusal || error instanceof ConfigError;
    console.error(isExpected ? `billing: ${error.message}` : error);
    process.exitCode = 2;
  },
);

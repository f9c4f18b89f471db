/** What `verify-ledger` and `reconcile` found, as both of them report it. */
export interface ProofReport {
  readonly list: readonly { readonly class: string; readonly what: string }[];
  readonly counts: ReadonlyMap<string, number>;
  readonly examined: Readonly<Record<string, number>>;
  readonly holds: boolean;
}

/** How many findings of one class a person is shown. */
const shownMax = 20;
const everyMs = 2_000;

/** The report for a person: what was examined, the findings by class, the verdict. */
export function describeReport(title: string, labels: Readonly<Record<string, string>>, report: ProofReport): string {
  const width = Math.max(...Object.values(labels).map((label) => label.length), 'not in the journal'.length);
  const row = (label: string, count: number) => `  ${label.padEnd(width)}  ${grouped(count).padStart(12)}`;
  const lines = [
    title,
    '',
    'Examined',
    ...Object.entries(labels).map(([key, label]) => row(label, report.examined[key]!)),
  ];
  if (report.counts.size > 0) {
    lines.push('', 'Findings', ...[...report.counts].map(([name, count]) => row(name, count)));
    for (const [name, count] of report.counts) {
      const found = report.list.filter((finding) => finding.class === name).slice(0, shownMax);
      lines.push('', name, ...found.map(({ what }) => `  ${what}`));
      if (count > found.length) lines.push(`  … and ${grouped(count - found.length)} more`);
    }
  }
  return [...lines, '', verdict(report)].join('\n');
}

function verdict({ counts, holds }: ProofReport): string {
  if (holds) return '✓ Everything that was examined agrees.';
  const total = [...counts.values()].reduce((sum, count) => sum + count, 0);
  if (total === 0) return '✗ There was nothing to examine, so nothing is proven.';
  return `✗ ${total === 1 ? '1 finding' : `${grouped(total)} findings`}: a person has to look.`;
}

/** 1234567 → 1,234,567 */
export function grouped(count: number): string {
  return count.toLocaleString('en');
}

/** A line of progress on stderr: rewritten in place on a terminal, now and then elsewhere. */
export function createProgress(): { show(text: string): void; end(): void } {
  const { stderr } = process;
  let shownAt = stderr.isTTY ? 0 : performance.now();
  let isShown = false;
  return {
    show(text) {
      if (performance.now() - shownAt < (stderr.isTTY ? everyMs / 20 : everyMs)) return;
      shownAt = performance.now();
      stderr.write(stderr.isTTY ? `\r\u001b[K${text}` : `${text}\n`);
      isShown = true;
    },
    end() {
      if (isShown && stderr.isTTY) stderr.write('\r\u001b[K');
    },
  };
}

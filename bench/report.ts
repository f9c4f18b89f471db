import type { Bench, Figures } from './bench.ts';

/** Over all rounds. */
export interface Spread {
  median: number;
  min: number;
  max: number;
}

/** The object of `--json` (design/6-benchmarks.md). */
export interface Report {
  bench: string;
  commit: string;
  machine: string;
  settings: Readonly<Record<string, string>>;
  rounds: number;
  results: Record<string, Spread & { unit: string }>;
  ratios: Record<
    string,
    { value: number; min: number; max: number; at_least?: number; at_most?: number; holds: boolean }
  >;
}

/** Median, minimum and maximum; of an even number of values the mean of the middle two. Throws on none. */
export function spread(values: readonly number[]): Spread {
  if (values.length === 0) throw new Error('a spread of no values');
  const sorted = values.toSorted((a, b) => a - b);
  const [low, high] = [sorted[(sorted.length - 1) >> 1]!, sorted[sorted.length >> 1]!];
  return { median: (low + high) / 2, min: sorted[0]!, max: sorted.at(-1)! };
}

/** Sums the rounds up: figures by themselves, ratios as the median of what each round gave. */
export function summarize(bench: Bench, rounds: readonly Figures[]): Pick<Report, 'rounds' | 'results' | 'ratios'> {
  const results = Object.entries(bench.units).map(
    ([name, unit]) => [name, { ...spread(rounds.map((figures) => figures[name]!)), unit }] as const,
  );
  const ratios = Object.entries(bench.ratios).map(([name, { of, bar }]) => {
    const { median: value, min, max } = spread(rounds.map(of));
    const holds = 'at_least' in bar ? value >= bar.at_least : value <= bar.at_most;
    return [name, { value, min, max, ...bar, holds }] as const;
  });
  return { rounds: rounds.length, results: Object.fromEntries(results), ratios: Object.fromEntries(ratios) };
}

/** The report for a person. */
export function table(report: Report): string {
  const lines = [
    `${report.bench}: ${report.rounds} rounds at ${report.commit} on ${report.machine}`,
    ...Object.entries(report.settings).map(([name, value]) => `  ${name}: ${value}`),
    '',
    row('', 'median', 'min', 'max', ''),
    ...Object.entries(report.results).map(([name, { median, min, max, unit }]) =>
      row(name, short(median), short(min), short(max), unit),
    ),
    '',
    ...Object.entries(report.ratios).map(([name, { value, min, max, at_least, at_most, holds }]) =>
      row(name, short(value), short(min), short(max), `${bar(at_least, at_most)} ${holds ? 'holds' : 'NOT REACHED'}`),
    ),
  ];
  return lines.join('\n');
}

function bar(atLeast: number | undefined, atMost: number | undefined): string {
  return atLeast === undefined ? `≤ ${atMost}:` : `≥ ${atLeast}:`;
}

function row(name: string, median: string, min: string, max: string, rest: string): string {
  return `  ${name.padEnd(28)}${[median, min, max].map((text) => text.padStart(10)).join('')}  ${rest}`.trimEnd();
}

/** Three significant digits are more than such figures are worth. */
function short(value: number): string {
  return Math.abs(value) >= 100 ? Math.round(value).toString() : value.toPrecision(3);
}

/** What a bench runs with; servers are its own, on 127.0.0.1. */
export interface BenchEnvironment {
  /** `postgresql://…` of a database of the bench's PostgreSQL. */
  databaseUrl(name: string): string;
  /** The bench's own folder, gone when it ends. */
  readonly dir: string;
  /** Where the processes of a profiled round leave `.cpuprofile` files; undefined when nothing is profiled. */
  readonly profileDir: string | undefined;
  progress(line: string): void;
}

/** Named numbers of one round, in the unit that the bench names for each. */
export type Figures = Readonly<Record<string, number>>;

/** What is compared, computed anew in every round from figures of that same round. */
export interface Ratio {
  readonly of: (figures: Figures) => number;
  readonly bar: { readonly at_least: number } | { readonly at_most: number };
}

/** A bench that is ready to be measured. One round measures every side once, so that sides are interleaved. */
export interface PreparedBench {
  /** Printed with the results: what was tuned, what the load was. */
  readonly settings: Readonly<Record<string, string>>;
  round(number: number): Promise<Figures>;
  /** Ends the servers that stood through all rounds. */
  stop?(): Promise<void>;
}

export interface Bench {
  /** One line for a person. */
  readonly title: string;
  /** Units by name of figure. */
  readonly units: Readonly<Record<string, string>>;
  readonly ratios: Readonly<Record<string, Ratio>>;
  prepare(env: BenchEnvironment): Promise<PreparedBench>;
}

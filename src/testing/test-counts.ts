import { stripVTControlCharacters } from 'node:util';

/** What ava's own report said. */
export interface TestCounts {
  readonly passed: number;
  /** Failed tests and hooks, tests that were not run, files that broke: never 0 when ava's exit status was not. */
  readonly failed: number;
}

const passed = /^ {2}[✔√] /;
/** A file that broke has no failed test in ava's summary. */
const broken = /^ {2}[✘×] (?:.* exited (?:due to|with)|No tests found|Line numbers for|Internal error)/;
const notRun = /^ {2}[✘×] (\d+) tests? remaining in /;
const summary = /^ {2}(\d+) (?:tests? failed|hooks? failed|tests? remained pending)/;

/** Reads the counts out of the report that ava printed. */
export function countTests(report: string, exitStatus: number): TestCounts {
  const counts = { passed: 0, failed: 0 };
  for (const line of stripVTControlCharacters(report).split('\n')) {
    if (passed.test(line)) counts.passed++;
    else if (broken.test(line)) counts.failed++;
    else counts.failed += Number((notRun.exec(line) ?? summary.exec(line))?.[1] ?? 0);
  }
  return { passed: counts.passed, failed: Math.max(counts.failed, exitStatus === 0 ? 0 : 1) };
}

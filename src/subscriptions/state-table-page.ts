import { allowedCommands, subscriptionStatuses, transitions, triggers, type Transition } from './state-table.ts';

const headings = { from: 'from', trigger: 'what happens', to: 'to', row: 'rule' };

/** The page about the life of a subscription, as Markdown; `docs/subscription-states.md` is this text. */
export function stateTablePage(): string {
  return `# The states of a subscription

Written from \`src/subscriptions/state-table.ts\` by \`npm run generate\`; a test compares them. A pair of state and event that is not listed is refused with \`ILLEGAL_TRANSITION\`. The names of the rules are those of the design; a subscription begins as INCOMPLETE (T1, Subscribe) or, given by an operator, as ACTIVE (T25).

${table(headings, transitions.map(row))}

Money that comes for a subscription that does not wait for it changes no state and goes back (T5). While the outcome of a charge is not known, nothing new is charged (T23). INCOMPLETE_EXPIRED and CANCELED are the end (T26).

## What may be asked for

"Flagged" means that it ends with its period.

${table({ state: 'state', commands: 'commands' }, commandRows())}
`;
}

function row({ id, from, trigger, flagged, to }: Transition): typeof headings {
  const guard = flagged === undefined ? '' : flagged ? ', flagged' : ', not flagged';
  return { from: `${from}${guard}`, trigger: triggers[trigger], to, row: id };
}

function commandRows(): { state: string; commands: string }[] {
  return subscriptionStatuses.flatMap((status) =>
    [false, true].flatMap((cancelAtPeriodEnd) => {
      const commands = allowedCommands({ status, cancelAtPeriodEnd });
      const same =
        cancelAtPeriodEnd && commands.join() === allowedCommands({ status, cancelAtPeriodEnd: false }).join();
      if (same) return [];
      const state = cancelAtPeriodEnd ? `${status}, flagged` : status;
      return [{ state, commands: commands.map((command) => `\`${command}\``).join(', ') || 'none' }];
    }),
  );
}

function table<Row extends Record<string, string>>(heads: Row, rows: readonly Row[]): string {
  const names = Object.keys(heads);
  const width = (name: string) => Math.max(...[heads, ...rows].map((cells) => cells[name]!.length));
  const line = (cells: Row) => `| ${names.map((name) => cells[name]!.padEnd(width(name))).join(' | ')} |`;
  const rule = `| ${names.map((name) => '-'.repeat(width(name))).join(' | ')} |`;
  return [line(heads), rule, ...rows.map(line)].join('\n');
}

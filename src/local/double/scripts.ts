export const stepOutcomes = [
  'by_card',
  'ok',
  'soft_decline',
  'charged_unanswered',
  'nothing_unanswered',
  'stored_500',
] as const;
export type StepOutcome = (typeof stepOutcomes)[number];

/** How one call that moves money goes. */
export interface Step {
  readonly outcome: StepOutcome;
  /** The answer comes that much later; real time. */
  readonly delay_ms: number;
}

export type Moves = 'charges' | 'refunds';

/** What is still to be played for each customer. */
export interface Scripts {
  set(customer: string, steps: Record<Moves, readonly Step[]>): void;
  /** The next step for the customer; it is used up. */
  next(customer: string | undefined, moves: Moves): Step;
}

const byCard: Step = { outcome: 'by_card', delay_ms: 0 };
const stepsMax = 100;

export function createScripts(): Scripts {
  const scripts = new Map<string, Record<Moves, Step[]>>();
  return {
    set: (customer, { charges, refunds }) =>
      void scripts.set(customer, { charges: [...charges], refunds: [...refunds] }),
    next: (customer, moves) => scripts.get(customer ?? '')?.[moves].shift() ?? byCard,
  };
}

/** Reads `{charges, refunds}`; `times` repeats a step. Throws where it is none. */
export function readScript(body: unknown): Record<Moves, Step[]> {
  const { charges = [], refunds = [] } = body as Partial<Record<Moves, unknown>>;
  return { charges: readSteps(charges), refunds: readSteps(refunds) };
}

function readSteps(steps: unknown): Step[] {
  if (!Array.isArray(steps)) throw new Error('not a list of steps');
  const read = (steps as Record<string, unknown>[]).flatMap((step): Step[] => {
    const outcome = stepOutcomes.find((known) => known === step['outcome']);
    if (outcome === undefined) throw new Error(`outcome is none of ${stepOutcomes.join(', ')}`);
    const [times, delayMs] = [Number(step['times'] ?? 1), Number(step['delay_ms'] ?? 0)];
    if (!(times >= 1 && times <= stepsMax && delayMs >= 0)) throw new Error('times or delay_ms is out of range');
    return Array.from({ length: times }, () => ({ outcome, delay_ms: delayMs }));
  });
  if (read.length > stepsMax) throw new Error(`more than ${stepsMax} steps`);
  return read;
}

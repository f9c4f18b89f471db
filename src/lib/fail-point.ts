/** Every place at which the process can be made to die: each between two steps that a crash can tear apart. */
export const failPointNames = [
  'claim.before-commit',
  'claim.after-commit',
  'send.before-call',
  'send.after-call',
  'settle.before-commit',
  'settle.after-commit',
  'relay.before-publish',
  'relay.after-publish',
  'relay.after-mark',
  'webhook.before-commit',
  'webhook.after-commit',
  'refund.before-call',
  'refund.after-call',
  'refund.after-commit',
] as const;

export type FailPointName = (typeof failPointNames)[number];

let armed: FailPointName | undefined;

/** From now on this process dies at the point, as by SIGKILL, the first time that it comes there. */
export function armFailPoint(name: FailPointName): void {
  armed = name;
}

/** Marks a place in the code. Costs one comparison while nothing is armed, which is always so in production. */
export function failPoint(name: FailPointName): void {
  if (armed === name) process.kill(process.pid, 'SIGKILL');
}

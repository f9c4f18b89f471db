import test from 'ava';
import { BillingError } from '../lib/billing-error.ts';
import { mayCall, targetUserId, type AccessRule } from './authorize.ts';
import { anonymous, type Actor } from './actor.ts';

const viewer = '0198c0de-0000-7000-8000-00000000000a';
const otherViewer = '0198c0de-0000-7000-8000-00000000000b';

const actors = {
  nobody: undefined,
  customer: { kind: 'customer', id: viewer },
  reader: { kind: 'service', id: 'gateway', scopes: ['billing.read'] },
  writer: { kind: 'service', id: 'gateway', scopes: ['x', 'billing.write'] },
  read_only: { kind: 'operator', id: 'rita', role: 'read_only' },
  support: { kind: 'operator', id: 'sam', role: 'support' },
  admin: { kind: 'operator', id: 'anna', role: 'admin' },
  provider: { kind: 'provider', id: 'sandbox' },
  anonymous,
} satisfies Record<string, Actor | undefined>;
type Name = keyof typeof actors;

const nothing: AccessRule = { public: false, customer: false, serviceScopes: [], operatorRole: undefined };

/** Written by hand: who may pass; everybody else must not. */
const table: { rule: Partial<AccessRule>; may: Name[] }[] = [
  { rule: {}, may: [] },
  {
    rule: { public: true },
    may: ['nobody', 'customer', 'reader', 'writer', 'read_only', 'support', 'admin', 'provider', 'anonymous'],
  },
  { rule: { customer: true }, may: ['customer'] },
  { rule: { serviceScopes: ['billing.read', 'billing.write'] }, may: ['reader', 'writer'] },
  { rule: { serviceScopes: ['billing.write'] }, may: ['writer'] },
  { rule: { operatorRole: 'read_only' }, may: ['read_only', 'support', 'admin'] },
  { rule: { operatorRole: 'support' }, may: ['support', 'admin'] },
  { rule: { operatorRole: 'admin' }, may: ['admin'] },
  { rule: { customer: true, operatorRole: 'admin' }, may: ['customer', 'admin'] },
];

for (const { rule, may } of table) {
  test(`lets in exactly those whom the rule lists: ${JSON.stringify(rule)}`, (t) => {
    for (const name of Object.keys(actors) as Name[]) {
      const attempt = () => mayCall(actors[name], { ...nothing, ...rule });
      if (may.includes(name)) {
        t.notThrows(attempt, name);
        continue;
      }
      const error = t.throws(attempt, { instanceOf: BillingError }, name);
      t.is(error?.reason, name === 'nobody' ? 'TOKEN_MISSING' : 'PERMISSION_DENIED', name);
      t.is(error?.kind, name === 'nobody' ? 'unauthenticated' : 'forbidden', name);
    }
  });
}

test('a customer is always meant themselves', (t) => {
  t.is(targetUserId(actors.customer, ''), viewer);
  t.is(targetUserId(actors.customer, viewer.toUpperCase()), viewer);
  const error = t.throws(() => targetUserId(actors.customer, otherViewer), { instanceOf: BillingError });
  t.is(error?.reason, 'USER_NOT_YOURS');
  t.is(error?.kind, 'forbidden');
});

test('a service and an operator must name a viewer', (t) => {
  for (const actor of [actors.reader, actors.admin]) {
    t.is(targetUserId(actor, otherViewer.toUpperCase()), otherViewer);
    const error = t.throws(() => targetUserId(actor, ''), { instanceOf: BillingError });
    t.is(error?.reason, 'USER_ID_REQUIRED');
    t.is(error?.kind, 'invalid');
    t.is(error?.fieldViolations[0]?.field, 'user_id');
  }
});

test('nobody in particular acts for no viewer', (t) => {
  t.is(t.throws(() => targetUserId(anonymous, viewer), { instanceOf: BillingError })?.kind, 'forbidden');
});

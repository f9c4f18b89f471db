import test from 'ava';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startAuthDouble } from '../../testing/auth-double.ts';
import { startTestNats } from '../../testing/nats.ts';
import { waitUntil } from '../../testing/wait-until.ts';
import { connectPublisher, encodeChange } from '../../testing/entitlement-publisher.ts';

const dataDir = mkdtempSync(join(tmpdir(), 'auth-rule-'));
const nats = await startTestNats();
const publisher = await connectPublisher(nats.url);
await publisher.makeStream();
const auth = await startAuthDouble({ natsUrl: nats.url, dataDir });

test.after.always(async () => {
  await auth.stop();
  await publisher.nats.close();
  await nats.remove();
  rmSync(dataDir, { recursive: true, force: true });
});

const uhd = [{ features: ['video.uhd'] }];
const premieres = [{ features: ['catalog.premieres'] }];

test.serial('keeps the rights of the greatest version, whatever comes after it', async (t) => {
  const userId = randomUUID();
  await publisher.publish(
    userId,
    { version: 1, rightsVersion: 1, grants: uhd },
    { version: 2, rightsVersion: 2, grants: premieres },
    { version: 2, rightsVersion: 2, grants: uhd },
    { version: 1, rightsVersion: 1, grants: uhd },
  );
  await publisher.settle(auth);
  const rights = await auth.user(userId);
  t.is(rights.version, 2);
  t.is(rights.rights_version, 2);
  t.deepEqual(rights.features, ['catalog.premieres']);
});

test.serial('applies a version that leaves a gap, and drops what the gap would have held', async (t) => {
  const userId = randomUUID();
  await publisher.publish(
    userId,
    { version: 1, rightsVersion: 1, grants: uhd },
    { version: 7, rightsVersion: 5, grants: premieres },
    { version: 6, rightsVersion: 5, grants: uhd },
  );
  await publisher.settle(auth);
  const rights = await auth.user(userId);
  t.is(rights.version, 7);
  t.deepEqual(rights.features, ['catalog.premieres']);
});

test.serial('takes the whole state: a grant that is not in the message is gone', async (t) => {
  const userId = randomUUID();
  await publisher.publish(
    userId,
    { version: 1, rightsVersion: 1, grants: [...uhd, ...premieres] },
    { version: 2, rightsVersion: 2, grants: [] },
  );
  await publisher.settle(auth);
  t.deepEqual((await auth.user(userId)).grants, []);
});

test.serial('revokes the tokens of a user when rights_version rises, and only then, and only theirs', async (t) => {
  const [userId, otherId] = [randomUUID(), randomUUID()];
  await publisher.publish(userId, { version: 1, rightsVersion: 1, grants: uhd });
  await publisher.settle(auth);
  const [token, second, others] = [
    await auth.token({ sub: userId }),
    await auth.token({ sub: userId }),
    await auth.token({ sub: otherId }),
  ];
  const before = await auth.user(userId);

  await publisher.publish(userId, { version: 2, rightsVersion: 1, grants: uhd });
  await publisher.settle(auth);
  t.deepEqual(await auth.check(token), { active: true });
  t.is((await auth.user(userId)).tokens_revoked_before, before.tokens_revoked_before);

  await publisher.publish(userId, { version: 3, rightsVersion: 3, grants: [] });
  await publisher.settle(auth);
  t.deepEqual(await auth.check(token), { active: false, reason: 'revoked' });
  t.deepEqual(await auth.check(second), { active: false, reason: 'revoked' });
  t.deepEqual(await auth.check(others), { active: true });
  t.true((await auth.user(userId)).tokens_revoked_before! > before.tokens_revoked_before!);
});

test.serial('a lost message cannot lose its revocation: the next one brings it', async (t) => {
  const userId = randomUUID();
  await publisher.publish(userId, { version: 1, rightsVersion: 1, grants: uhd });
  await publisher.settle(auth);
  const token = await auth.token({ sub: userId });
  // Version 2 took the features and was lost; version 3 merely extends.
  await publisher.publish(userId, { version: 3, rightsVersion: 2, grants: [] });
  await publisher.settle(auth);
  t.deepEqual(await auth.check(token), { active: false, reason: 'revoked' });
});

test.serial('a replayed change of rights does not revoke the tokens issued since', async (t) => {
  const userId = randomUUID();
  const change = { version: 1, rightsVersion: 1, grants: uhd };
  await publisher.publish(userId, change);
  await publisher.settle(auth);
  const token = await auth.token({ sub: userId });
  await publisher.publish(userId, change, change);
  await publisher.settle(auth);
  t.deepEqual(await auth.check(token), { active: true });
});

test.serial('within one second, the token before a revocation is refused and the one after it is good', async (t) => {
  for (let tries = 0; tries < 10; tries++) {
    const userId = randomUUID();
    const before = await auth.token({ sub: userId });
    await publisher.publish(userId, { version: 1, rightsVersion: 1, grants: uhd });
    await waitUntil('the change', async () => (await auth.user(userId)).version === 1);
    const after = await auth.token({ sub: userId });
    if (issuedAtS(before) !== issuedAtS(after)) continue;
    t.deepEqual(await auth.check(before), { active: false, reason: 'revoked' });
    t.deepEqual(await auth.check(after), { active: true });
    return;
  }
  t.fail('never got both tokens within one second');
});

test.serial(
  'what cannot be read becomes a dead letter with a log line, is not delivered again and holds nothing up',
  async (t) => {
    const userId = randomUUID();
    const subject = `billing.entitlements.v1.${userId}`;
    const unreadable = [
      Buffer.from('\xff\xff not protobuf', 'latin1'),
      encodeChange('not-a-uuid', { version: 1, rightsVersion: 1 }),
      encodeChange(randomUUID(), { version: 1, rightsVersion: 1 }),
      encodeChange(userId, { version: 0, rightsVersion: 0 }),
      encodeChange(userId, { version: 1, rightsVersion: 2 }),
      encodeChange(userId, { version: 1, rightsVersion: 0 }),
    ];
    for (const payload of unreadable) await publisher.publishRaw(subject, payload);
    await publisher.settle(auth);

    t.is((await auth.user(userId)).version, 0);
    const store = new DatabaseSync(join(dataDir, 'auth.db'), { readOnly: true });
    const letters = store.prepare('select payload from dead_letter where subject = ?').all(subject);
    store.close();
    t.deepEqual(sortedHex(letters.map((letter) => letter['payload'] as Uint8Array)), sortedHex(unreadable));
    t.is(auth.log.filter((line) => line.includes('dead letter') && line.includes(userId)).length, unreadable.length);
  },
);

test.serial('a store that refuses for a while delays a message and does not lose it', async (t) => {
  const userId = randomUUID();
  const other = new DatabaseSync(join(dataDir, 'auth.db'));
  other.exec('begin immediate');
  await publisher.publish(userId, { version: 1, rightsVersion: 1, grants: uhd });
  await waitUntil('the refusal', () => auth.log.some((line) => line.includes('cannot store') && line.includes(userId)));
  other.exec('rollback');
  other.close();
  await waitUntil('the message', async () => (await auth.user(userId)).version === 1);
  t.pass();
});

test.serial('everything delivered is acknowledged, once', async (t) => {
  await publisher.settle(auth);
  const info = await waitUntil('the last ack', async () => {
    const now = await publisher.manager.consumers.info('BILLING_ENTITLEMENTS', 'auth');
    return now.num_ack_pending === 0 && now.num_pending === 0 && now;
  });
  const { state } = await publisher.manager.streams.info('BILLING_ENTITLEMENTS');
  t.is(info.ack_floor.stream_seq, state.last_seq);
  t.is(info.config.max_ack_pending, 256);
});

function issuedAtS(token: string): number {
  return (JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString()) as { iat: number }).iat;
}

function sortedHex(payloads: readonly Uint8Array[]): string[] {
  return payloads.map((payload) => Buffer.from(payload).toString('hex')).sort();
}

import test from 'ava';
import { join } from 'node:path';
import { ConfigError } from './config.ts';
import { readLocalConfig } from './local-config.ts';

test('nothing set gives the documented ports and the folder .local', (t) => {
  const config = readLocalConfig({});
  t.is(config.httpPort, 8080);
  t.is(config.grpcPort, 50_051);
  t.is(config.dataDir, join(process.cwd(), '.local'));
  t.false(config.startedByNpm);
});

test('0 asks for any free port, for both', (t) => {
  const config = readLocalConfig({ BILLING_PORT: '0', BILLING_GRPC_PORT: '0', BILLING_DATA_DIR: '/srv/billing' });
  t.is(config.httpPort, 0);
  t.is(config.grpcPort, 0);
  t.is(config.dataDir, '/srv/billing');
});

test('every problem is reported at once', (t) => {
  const error = t.throws(
    () => readLocalConfig({ BILLING_PORT: 'http', BILLING_GRPC_PORT: '70000', BILLING_ROLES: 'relay' }),
    { instanceOf: ConfigError },
  );
  t.deepEqual(
    error?.problems.map((problem) => problem.split(' ')[0]),
    ['BILLING_PORT', 'BILLING_GRPC_PORT', 'BILLING_ROLES'],
  );
  t.throws(() => readLocalConfig({ BILLING_PORT: '50051' }), { message: /have to differ/ });
});

test('the service gets only its own variables and what every program needs', (t) => {
  const config = readLocalConfig({
    PATH: '/bin',
    HOME: '/home/olga',
    BILLING_ROLES: 'api,renewals',
    BILLING_DATABASE_URL: 'postgresql://elsewhere/billing',
    SECRET_OF_SOMETHING_ELSE: 'x',
    npm_lifecycle_event: 'start',
  });
  t.deepEqual(config.serviceOverrides, { BILLING_ROLES: 'api,renewals' });
  t.deepEqual(config.surroundings, { PATH: '/bin', HOME: '/home/olga' });
  t.true(config.startedByNpm);
});

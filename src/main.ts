import { pino } from 'pino';
import { createApp } from './app.ts';
import { ConfigError, loadConfig } from './config/config.ts';
import { armFailPoint } from './lib/fail-point.ts';

/** The service alone, configured by the environment (`npm run serve`). */
async function main(): Promise<void> {
  const config = loadConfig();
  if (config.failPoint !== undefined) armFailPoint(config.failPoint);
  const log = pino({ level: config.logLevel }, pino.destination(2));
  const app = await createApp(config, log);
  let stopping: Promise<void> | undefined;
  const stop = (signal: string) => {
    stopping ??= (async () => {
      log.info({ signal }, 'stopping');
      await app.stop();
      log.info('stopped');
      // A call that outlived its time would keep the process, and a pool that it opens anew, for longer.
      process.exit(0);
    })();
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  const { httpPort, grpcPort } = await app.start();
  const scheme = config.tls === undefined ? 'http' : 'https';
  const listening = { http: `${scheme}://${config.host}:${httpPort}`, grpc: `${config.host}:${grpcPort}` };
  process.stdout.write(`${JSON.stringify({ listening })}\n`);
}

main().catch((error: unknown) => {
  const text =
    error instanceof ConfigError
      ? error.message
      : error instanceof Error
        ? (error.stack ?? error.message)
        : String(error);
  process.stderr.write(`${text}\n`);
  process.exit(1);
});

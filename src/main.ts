import { pino } from 'pino';
import { createApp } from './app.ts';
import { ConfigError, loadConfig } from './config/config.ts';

/** The service alone, configured by the environment (`npm run serve`). */
async function main(): Promise<void> {
  const config = loadConfig();
  const log = pino({ level: config.logLevel }, pino.destination(2));
  const app = await createApp(config, log);
  let stopping: Promise<void> | undefined;
  const stop = (signal: string) => {
    stopping ??= (async () => {
      log.info({ signal }, 'stopping');
      await app.stop();
      log.info('stopped');
    })();
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  const { httpPort, grpcPort } = await app.start();
  const listening = { http: `http://${config.host}:${httpPort}`, grpc: `${config.host}:${grpcPort}` };
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

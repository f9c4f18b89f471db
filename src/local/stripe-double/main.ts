import { readSettings, runDouble } from '../double/program.ts';
import { startStripeDouble } from './server.ts';

runDouble(() => startStripeDouble(readSettings(process.env))).catch((error: unknown) => {
  process.stderr.write(`stripe-double: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
});

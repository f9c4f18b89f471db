import { readSettings, runDouble } from '../double/program.ts';
import { startYookassaDouble } from './server.ts';

runDouble(() => startYookassaDouble(readSettings(process.env))).catch((error: unknown) => {
  process.stderr.write(`yookassa-double: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
});

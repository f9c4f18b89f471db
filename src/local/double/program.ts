import type { DoubleOptions } from './server.ts';

export interface DoubleSettings extends DoubleOptions {
  readonly port: number;
  readonly noticeUrl: string;
  readonly dataDir: string;
  readonly key: string;
  readonly noticeSecret: string;
}

/** Reads the environment of a double's program. Throws an Error of one line. */
export function readSettings(env: Readonly<Record<string, string | undefined>>): DoubleSettings {
  const required = (name: string): string => {
    const value = env[name];
    if (!value) throw new Error(`${name} is not set`);
    return value;
  };
  return {
    dataDir: required('DOUBLE_DATA_DIR'),
    port: Number(env['DOUBLE_PORT'] ?? 0),
    noticeUrl: required('DOUBLE_NOTICE_URL'),
    key: required('DOUBLE_KEY'),
    noticeSecret: required('DOUBLE_NOTICE_SECRET'),
  };
}

/** Runs a double until it is told to stop, or whoever started it is gone; it says where it listens when it is ready. */
export async function runDouble(start: () => Promise<{ url: string; close(): Promise<void> }>): Promise<void> {
  const double = await start();
  let isStopping = false;
  const stop = async (): Promise<void> => {
    if (isStopping) return;
    isStopping = true;
    await double.close();
    if (process.connected) process.disconnect?.();
  };
  for (const reason of ['SIGTERM', 'SIGINT', 'disconnect'] as const) process.on(reason, stop);
  process.stdout.write(`${JSON.stringify({ listening: new URL(double.url).origin })}\n`);
}

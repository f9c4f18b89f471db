import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { audience, issuer, type IssuedToken, type TokenState } from '../local/auth-double/access-token.ts';
import type { UserRights } from '../local/auth-double/user-rights.ts';

const program = join(import.meta.dirname, '../local/auth-double/main.ts');
const startTimeoutMs = 20_000;
const pagesMax = 1_000;

export interface TestAuthDouble {
  readonly url: string;
  readonly publicKeyPem: string;
  readonly issuer: string;
  readonly audience: string;
  /** What it wrote to stderr so far, one entry a line. */
  readonly log: readonly string[];
  /** A token: a viewer's, or an operator's with `role`, or a service's with `scope`. */
  token(request: { sub: string; role?: string; scope?: string; email?: string; expiresInS?: number }): Promise<string>;
  check(token: string): Promise<TokenState>;
  user(userId: string): Promise<UserRights>;
  /** Every user that billing told of, in id order. */
  users(): Promise<UserRights[]>;
  /** Ends it as SIGTERM does and removes its data, unless the folder was the caller's. Answers the exit code. */
  stop(): Promise<number | null>;
  /** SIGKILL; its data stays for another start with the same `dataDir`. */
  kill(): Promise<void>;
}

/** Starts the Auth double as a process of its own on a free port; it ends with this process. */
export async function startAuthDouble(options: { natsUrl: string; dataDir?: string }): Promise<TestAuthDouble> {
  const dataDir = options.dataDir ?? mkdtempSync(join(tmpdir(), 'auth-double-'));
  const child = spawn(process.execPath, [program], {
    env: {
      ...process.env,
      AUTH_DOUBLE_PORT: '0',
      AUTH_DOUBLE_DATA_DIR: dataDir,
      AUTH_DOUBLE_NATS_URL: options.natsUrl,
    },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  const exited = once(child, 'exit');
  const log: string[] = [];
  createInterface(child.stderr!).on('line', (line) => log.push(line));

  const tooLate = setTimeout(() => child.kill('SIGKILL'), startTimeoutMs);
  const firstLine = once(createInterface(child.stdout!), 'line') as Promise<[string]>;
  const started = await Promise.race([firstLine, exited.then(() => undefined)]);
  clearTimeout(tooLate);
  if (!started) throw new Error(`the Auth double ended at its start: ${log.join('; ')}`);
  const { listening: url } = JSON.parse(started[0]) as { listening: string };

  const call = async <T>(path: string, body?: object): Promise<T> => {
    const response = await fetch(`${url}${path}`, body ? { method: 'POST', body: JSON.stringify(body) } : {});
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return (await response.json()) as T;
  };

  return {
    url,
    publicKeyPem: await (await fetch(`${url}/public-key.pem`)).text(),
    issuer,
    audience,
    log,
    token: async ({ expiresInS, ...request }) => {
      const issued = await call<IssuedToken>('/tokens', { ...request, expires_in_s: expiresInS });
      return issued.token;
    },
    check: (token) => call<TokenState>('/tokens/check', { token }),
    user: (userId) => call<UserRights>(`/users/${userId}`),
    users: async () => {
      const users: UserRights[] = [];
      let after: string | null = '';
      for (let page = 0; after !== null && page < pagesMax; page++) {
        const answer: { users: UserRights[]; next_after: string | null } = await call(`/users?after=${after}`);
        users.push(...answer.users);
        after = answer.next_after;
      }
      return users;
    },
    stop: async () => {
      child.kill('SIGTERM');
      const [code] = (await exited) as [number | null];
      if (options.dataDir === undefined) rmSync(dataDir, { recursive: true, force: true });
      return code;
    },
    kill: async () => {
      child.kill('SIGKILL');
      await exited;
    },
  };
}

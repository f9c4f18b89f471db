import { parseArgs } from 'node:util';
import { findRunningSystem, Refusal } from './running-system.ts';

const requestTimeoutMs = 5_000;

const help = `Prints an access token of the local Auth, good for the running "npm start".

  npm run --silent token -- --sub UUID                     a viewer
  npm run --silent token -- --sub NAME --role ROLE         an operator: read_only, support, admin
  npm run --silent token -- --sub NAME --scope "A B"       a service: billing.read, billing.write, billing.entitlements

It is found through BILLING_DATA_DIR, as "npm start" left it there.`;

/** Asks the embedded default's Auth for a token; throws a Refusal when none runs there or it refuses. */
async function requestToken(request: object): Promise<string> {
  const { authUrl } = findRunningSystem();
  const response = await fetch(`${authUrl}/tokens`, {
    method: 'POST',
    body: JSON.stringify(request),
    signal: AbortSignal.timeout(requestTimeoutMs),
  }).catch((error: unknown) => {
    throw new Refusal(`the local Auth at ${authUrl} does not answer: is "npm start" still running?`, { cause: error });
  });
  const answer = (await response.json().catch(() => ({}))) as { token?: string; error?: string };
  if (!response.ok || !answer.token) throw new Refusal(answer.error ?? `the local Auth answered ${response.status}`);
  return answer.token;
}

function readArguments(): { sub?: string; role?: string; scope?: string; help?: boolean } {
  try {
    const options = {
      sub: { type: 'string' },
      role: { type: 'string' },
      scope: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    } as const;
    return parseArgs({ options }).values;
  } catch (error) {
    throw new Refusal(`${(error as Error).message.split('. ')[0]}; see --help`, { cause: error });
  }
}

async function main(): Promise<string> {
  const { help: isHelp, ...request } = readArguments();
  if (isHelp) return help;
  if (!request.sub) throw new Refusal('--sub is missing; see --help');
  return requestToken(request);
}

main().then(
  (text) => console.log(text),
  (error: unknown) => {
    if (!(error instanceof Refusal)) throw error;
    console.error(`token: ${error.message}`);
    process.exitCode = 1;
  },
);

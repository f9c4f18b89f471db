import type { IncomingMessage } from 'node:http';
import { ApiError, notFound } from './api-error.ts';
import { parseObject, readBody, type Answer } from './http.ts';
import { webhookFaults, type Script, type ScriptStep, type WebhookFault } from './ledger-line.ts';
import { allowOnly, readWhole, type Parameters } from './parameters.ts';
import { playNames, refundPlayNames, type PlayName } from './scripts.ts';
import type { System } from './system.ts';

const stepsMax = 100;
const times = { min: 1, max: 1_000, otherwise: 1 };
const delayMs = { min: 0, max: 60_000, otherwise: 0 };
const seedMax = 2 ** 31 - 1;

/**
 * Answers the calls that make the system behave badly on purpose: `PUT /v1/scripts/{customer reference}` replaces what
 * is still to be played for a customer, `PUT /v1/faults` turns seeded random faults on and off for all.
 */
export async function control({ books }: System, request: IncomingMessage, url: URL): Promise<Answer> {
  const [, , collection, name] = url.pathname.split('/');
  const call = `${request.method} ${collection}${name === undefined ? '' : '/:name'}`;
  const at = books.clock.now();
  if (call === 'GET scripts/:name') {
    const script = books.state.scripts.get(decodeURIComponent(name!));
    if (script === undefined) throw notFound('script');
    return { status: 200, body: script };
  }
  const body = parseObject(await readBody(request));
  if (call === 'PUT scripts/:name') {
    const script = readScript(decodeURIComponent(name!), body);
    await books.record({ type: 'scripted', at, script });
    return { status: 200, body: script };
  }
  if (call === 'PUT faults') {
    const seed = readSeed(body);
    await books.record({ type: 'faults_set', at, fault_seed: seed });
    return { status: 200, body: { seed } };
  }
  throw notFound('call');
}

function readScript(customerReference: string, body: Parameters): Script {
  allowOnly(body, ['charges', 'refunds', 'webhooks']);
  const { webhooks = null } = body;
  if (webhooks !== null && !webhookFaults.includes(webhooks as WebhookFault)) {
    throw invalid(`webhooks is none of ${webhookFaults.join(', ')}`);
  }
  return {
    customer_reference: customerReference,
    charges: readSteps(body['charges'], 'charges', playNames),
    refunds: readSteps(body['refunds'], 'refunds', refundPlayNames),
    webhooks: webhooks as WebhookFault | null,
  };
}

function readSteps(steps: unknown, name: string, known: readonly PlayName[]): ScriptStep[] {
  if (steps === undefined) return [];
  if (!Array.isArray(steps) || steps.length > stepsMax) {
    throw invalid(`${name} is not a list of at most ${stepsMax} steps`);
  }
  return steps.map((step) => readStep(parseObject(JSON.stringify(step)), known));
}

function readStep(step: Parameters, known: readonly PlayName[]): ScriptStep {
  allowOnly(step, ['outcome', 'times', 'delay_ms']);
  const outcomes: readonly ScriptStep['outcome'][] = ['by_card', ...known];
  const outcome = outcomes.find((name) => name === step['outcome']);
  if (outcome === undefined) throw invalid(`outcome is none of ${outcomes.join(', ')}`);
  return {
    outcome,
    times: readWhole(step['times'], 'times', times),
    delay_ms: readWhole(step['delay_ms'], 'delay_ms', delayMs),
  };
}

function readSeed(body: Parameters): number | null {
  allowOnly(body, ['seed']);
  if (body['seed'] === null) return null;
  return readWhole(body['seed'] ?? '', 'seed', { min: 0, max: seedMax, otherwise: 0 });
}

function invalid(message: string): ApiError {
  return new ApiError(400, 'parameter_invalid', message);
}

import type { DoubleCard } from '../double/cards.ts';
import type { Step, StepOutcome } from '../double/scripts.ts';
import { cancelIntent, confirmIntent, createIntent } from './intents.ts';
import { documented, readParameters, requiredAt, textAt, valuesAt, type Tree } from './parameters.ts';
import { missing, StripeRefusal } from './refusal.ts';
import { createRefund } from './refunds.ts';
import { createSession, expireSession } from './sessions.ts';
import { expanded, type Store, type StripeObject } from './store.ts';
import { attachTestMethod, createCustomer } from './test-methods.ts';

const kinds: Record<string, { object: string; called: string }> = {
  'checkout/sessions': { object: 'checkout.session', called: 'checkout.session' },
  payment_intents: { object: 'payment_intent', called: 'payment_intent' },
  refunds: { object: 'refund', called: 'refund' },
  disputes: { object: 'dispute', called: 'dispute' },
  payment_methods: { object: 'payment_method', called: 'PaymentMethod' },
  customers: { object: 'customer', called: 'customer' },
};

/** What a scripted step makes of the card. */
const scriptedCards: Partial<Record<StepOutcome, DoubleCard>> = {
  ok: 'good',
  charged_unanswered: 'good',
  soft_decline: 'no funds later',
};

function cardOf({ outcome }: Step): DoubleCard | undefined {
  return scriptedCards[outcome];
}

export interface Knobs {
  /** How refunds begin. */
  refundStatus: 'succeeded' | 'pending' | 'failed';
  /** Intents that the search does not find yet. */
  readonly notSearchableYet: Set<string>;
}

/** Does a call and gives the answer's object. Throws StripeRefusal. */
export function answer(
  store: Store,
  knobs: Knobs,
  { method, path, text }: { method: string; path: string; text: string },
  step: Step,
): object {
  const [, resource = '', rest = ''] = /^\/v1\/(checkout\/sessions|[a-z_]+)(?:\/(.*))?$/.exec(path) ?? [];
  const [id, action] = rest === 'search' ? [undefined, 'search'] : rest.split('/');
  const call = [`${method} /v1/${resource}`, ...(id ? ['*'] : []), ...(action ? [action] : [])].join('/');
  const kind = kinds[resource];
  if (kind === undefined || documented[call] === undefined) {
    throw new StripeRefusal(404, '', `Unrecognized request URL (${method}: ${path})`);
  }
  const tree = readParameters(text, call);
  const paths = Object.values(valuesAt(tree, 'expand'));
  const stored = id ? store.objects.get(decodeURIComponent(id)) : undefined;
  if (action === 'attach') return expanded(store, attachTestMethod(store, id!, tree), paths);
  if (id && stored?.object !== kind.object) throw missing(kind.called, id);
  const show = (object: StripeObject) => expanded(store, object, paths);
  switch (call) {
    case 'POST /v1/checkout/sessions':
      return show(createSession(store, tree));
    case 'POST /v1/checkout/sessions/*/expire':
      return show(expireSession(store, stored!));
    case 'POST /v1/payment_intents':
      return show(createIntent(store, tree, cardOf(step)));
    case 'POST /v1/payment_intents/*/confirm':
      return show(confirmIntent(store, stored!, tree));
    case 'POST /v1/payment_intents/*/cancel':
      return show(cancelIntent(store, stored!));
    case 'POST /v1/refunds':
      return show(createRefund(store, tree, step.outcome === 'soft_decline' ? 'failed' : knobs.refundStatus));
    case 'POST /v1/customers':
      return show(createCustomer(store, tree));
    case 'POST /v1/payment_methods/*/detach':
      return show(Object.assign(stored!, { customer: null }));
    case 'GET /v1/payment_intents/search':
      return search(store, knobs, tree, paths);
    default:
      return id ? show(stored!) : list(store, kind.object, path, tree, paths);
  }
}

function below(paths: readonly string[]): string[] {
  return paths.map((path) => {
    if (!path.startsWith('data.')) throw new StripeRefusal(400, '', `This property cannot be expanded (${path}).`);
    return path.slice('data.'.length);
  });
}

function search(store: Store, knobs: Knobs, tree: Tree, paths: readonly string[]): object {
  const [, key, value] = /^metadata\["(\w+)"\]:"([\w-]+)"$/.exec(requiredAt(tree, 'query')) ?? [];
  if (key === undefined) throw new StripeRefusal(400, '', 'We were unable to parse your search query.', 'query');
  const data = [...store.objects.values()]
    .filter(({ id, object }) => object === 'payment_intent' && !knobs.notSearchableYet.has(id))
    .filter(({ metadata }) => (metadata as Record<string, string>)[key] === value)
    .map((object) => expanded(store, object, below(paths)));
  return { object: 'search_result', url: '/v1/payment_intents/search', has_more: false, data };
}

/** Newest first, at most 100. */
function list(store: Store, object: string, url: string, tree: Tree, paths: readonly string[]): object {
  const limit = Number(textAt(tree, 'limit') ?? 10);
  if (!(limit >= 1 && limit <= 100)) throw new StripeRefusal(400, 'parameter_invalid_integer', 'limit', 'limit');
  const found = [...store.objects.values()]
    .filter((stored) => stored.object === object && isAskedFor(stored, tree))
    .toReversed();
  const place = (cursor: string) => {
    const id = textAt(tree, cursor);
    const index = found.findIndex((stored) => stored.id === id);
    if (id !== undefined && index === -1) throw missing(object, id, 400, cursor);
    return id === undefined ? undefined : index;
  };
  const [after, before] = [place('starting_after'), place('ending_before')];
  if (after !== undefined && before !== undefined) {
    throw new StripeRefusal(400, 'parameter_invalid', 'starting_after and ending_before exclude each other');
  }
  const start = before === undefined ? (after ?? -1) + 1 : Math.max(0, before - limit);
  const shown = found.slice(start, before ?? start + limit);
  const hasMore = before === undefined ? start + limit < found.length : start > 0;
  return { object: 'list', url, has_more: hasMore, data: shown.map((one) => expanded(store, one, below(paths))) };
}

/** Whether an object is within the span of time, and belongs to what else the list was asked for. */
function isAskedFor(stored: StripeObject, tree: Tree): boolean {
  const { gt, gte, lt, lte } = valuesAt(tree, 'created');
  const { created } = stored;
  const isIn =
    created === Number(textAt(tree, 'created') ?? created) &&
    created > Number(gt ?? -Infinity) &&
    created >= Number(gte ?? -Infinity) &&
    created < Number(lt ?? Infinity) &&
    created <= Number(lte ?? Infinity);
  const belongs = (name: string) => [undefined, stored[name]].includes(textAt(tree, name));
  return isIn && belongs('payment_intent') && belongs('charge');
}

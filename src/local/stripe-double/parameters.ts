import { StripeRefusal } from './refusal.ts';

/** A form's fields as a tree: `a[b][0]=x` is `{ a: { b: { 0: 'x' } } }`. */
export interface Tree {
  [name: string]: string | Tree;
}

const page = ['ending_before', 'limit', 'starting_after', 'expand[]'];
const created = ['created', 'created[gt]', 'created[gte]', 'created[lt]', 'created[lte]'];

/**
 * What each call takes, by the types of the official package 23.1.0 (OpenAPI v2596, API 2026-10-28.endive): every
 * name at the top, and below it the names under the parameters that a subscription has a use for. `[]` is an index,
 * `{}` any key.
 */
export const documented: Record<string, ReadonlySet<string>> = {
  'POST /v1/checkout/sessions': new Set([
    ...'allow_promotion_codes cancel_url client_reference_id currency customer customer_account customer_creation'.split(
      ' ',
    ),
    ...'customer_email expires_at integration_identifier locale mode origin_context payment_method_collection'.split(
      ' ',
    ),
    ...'payment_method_configuration redirect_on_completion return_url submit_type success_url ui_mode'.split(' '),
    ...'billing_address_collection'.split(' '),
    'allowed_payment_method_types[]',
    'excluded_payment_method_types[]',
    'expand[]',
    'metadata{}',
    ...['price', 'quantity', 'tax_rates[]', 'metadata{}'].map((name) => `line_items[].${name}`),
    ...['currency', 'product', 'tax_behavior', 'unit_amount', 'unit_amount_decimal'].map(
      (name) => `line_items[].price_data.${name}`,
    ),
    ...['description', 'images[]', 'metadata{}', 'name', 'tax_code', 'unit_label'].map(
      (name) => `line_items[].price_data.product_data.${name}`,
    ),
    ...'application_fee_amount capture_method description metadata{} on_behalf_of receipt_email setup_future_usage'
      .split(' ')
      .map((name) => `payment_intent_data.${name}`),
    ...['description', 'metadata{}', 'on_behalf_of'].map((name) => `setup_intent_data.${name}`),
  ]),
  'GET /v1/checkout/sessions': new Set([
    ...page,
    ...created,
    ...'customer customer_account payment_intent payment_link status subscription'.split(' '),
  ]),
  'GET /v1/checkout/sessions/*': new Set(['expand[]']),
  'POST /v1/checkout/sessions/*/expire': new Set(['expand[]']),
  'POST /v1/payment_intents': new Set([
    ...'amount currency application_fee_amount capture_method confirm confirmation_method confirmation_token'.split(
      ' ',
    ),
    ...'customer customer_account description error_on_requires_action mandate off_session on_behalf_of'.split(' '),
    ...'payment_method payment_method_configuration receipt_email return_url setup_future_usage'.split(' '),
    ...'statement_descriptor statement_descriptor_suffix transfer_group use_stripe_sdk'.split(' '),
    'allowed_payment_method_types[]',
    'excluded_payment_method_types[]',
    'expand[]',
    'metadata{}',
  ]),
  'GET /v1/payment_intents': new Set([...page, ...created, 'customer', 'customer_account']),
  'GET /v1/payment_intents/search': new Set(['query', 'limit', 'page', 'expand[]']),
  'GET /v1/payment_intents/*': new Set(['client_secret', 'expand[]']),
  'POST /v1/payment_intents/*/confirm': new Set([
    ...'amount_to_confirm capture_method confirmation_token error_on_requires_action mandate off_session'.split(' '),
    ...'payment_method receipt_email return_url setup_future_usage use_stripe_sdk'.split(' '),
    'allowed_payment_method_types[]',
    'expand[]',
  ]),
  'POST /v1/payment_intents/*/cancel': new Set(['cancellation_reason', 'expand[]']),
  'POST /v1/refunds': new Set([
    ...'amount charge currency customer instructions_email origin payment_intent reason'.split(' '),
    ...'refund_application_fee reverse_transfer expand[] metadata{}'.split(' '),
  ]),
  'GET /v1/disputes': new Set([...page, ...created, 'charge', 'payment_intent']),
  'GET /v1/disputes/*': new Set(['expand[]']),
  'GET /v1/refunds': new Set([...page, ...created, 'charge', 'payment_intent']),
  'GET /v1/refunds/*': new Set(['expand[]']),
  'GET /v1/payment_methods/*': new Set(['expand[]']),
  'POST /v1/payment_methods/*/detach': new Set(['expand[]']),
  'POST /v1/payment_methods/*/attach': new Set(['customer', 'customer_account', 'expand[]']),
  'POST /v1/customers': new Set([
    ...'balance business_name cash_balance description email individual_name invoice_prefix name'.split(' '),
    ...'next_invoice_sequence payment_method phone source tax_exempt test_clock validate'.split(' '),
    'expand[]',
    'metadata{}',
  ]),
};

/** Reads a form or a query, and refuses what the documentation does not know. Throws StripeRefusal. */
export function readParameters(text: string, call: string): Tree {
  const known = documented[call];
  const tree: Tree = {};
  for (const [name, value] of new URLSearchParams(text)) {
    const path = [...name.matchAll(/([^[\]]+)/g)].map(([part]) => part);
    if (!isKnown(path, known)) throw new StripeRefusal(400, 'parameter_unknown', `unknown parameter ${name}`, name);
    put(tree, path, value);
  }
  return tree;
}

function isKnown(path: readonly string[], known: ReadonlySet<string> | undefined): boolean {
  const dotted = path
    .map((part) => (/^[0-9]+$/.test(part) ? '[]' : `.${part}`))
    .join('')
    .slice(1);
  const ofAnyKey = `${dotted.slice(0, dotted.lastIndexOf('.'))}{}`;
  // The package writes single bounds of a range as names of their own.
  const ofRange = dotted.replace(/^created\.(\w+)$/, 'created[$1]');
  return known !== undefined && [dotted, ofAnyKey, ofRange].some((form) => known.has(form));
}

function put(tree: Tree, path: readonly string[], value: string): void {
  const [head, ...rest] = path;
  if (rest.length === 0) {
    tree[head!] = value;
    return;
  }
  const below = tree[head!] ?? {};
  if (typeof below === 'string') throw new StripeRefusal(400, 'parameter_invalid', `${head} has two forms`);
  tree[head!] = below;
  put(below, rest, value);
}

/** A parameter that is text; undefined when it is not given. */
export function textAt(tree: Tree, ...path: string[]): string | undefined {
  let found: string | Tree | undefined = tree;
  for (const part of path) found = typeof found === 'object' ? found[part] : undefined;
  return typeof found === 'string' ? found : undefined;
}

/** A parameter that has to be there. Throws StripeRefusal. */
export function requiredAt(tree: Tree, ...path: string[]): string {
  const value = textAt(tree, ...path);
  if (value === undefined || value === '') {
    throw new StripeRefusal(400, 'parameter_missing', `missing required param: ${path.join('.')}`, path.join('.'));
  }
  return value;
}

/** An amount in minor units. Throws StripeRefusal. */
export function amountAt(tree: Tree, ...path: string[]): number {
  const value = requiredAt(tree, ...path);
  if (!/^[0-9]{1,8}$/.test(value) || Number(value) === 0) {
    throw new StripeRefusal(400, 'parameter_invalid_integer', `invalid integer: ${value}`, path.join('.'));
  }
  return Number(value);
}

/** The texts of a list or a map. */
export function valuesAt(tree: Tree, name: string): Record<string, string> {
  const found = tree[name];
  return typeof found === 'object' ? (found as Record<string, string>) : {};
}

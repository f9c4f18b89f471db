import { ApiError } from './api-error.ts';

export type Parameters = Readonly<Record<string, unknown>>;

const currencies = new Set(Intl.supportedValuesOf('currency'));
const amountPattern = /^[1-9][0-9]{0,17}$/;
const textMax = 500;

/** Refuses parameters that the call does not have: a misspelt one would otherwise be ignored. */
export function allowOnly(parameters: Parameters, names: readonly string[]): void {
  for (const name of Object.keys(parameters)) {
    if (!names.includes(name)) throw invalid('parameter_unknown', `there is no parameter ${name}`);
  }
}

/** A text of 1 to 500 characters. */
export function requiredText(parameters: Parameters, name: string): string {
  const value = optionalText(parameters, name);
  if (value === '') throw invalid('parameter_missing', `${name} is missing`);
  return value;
}

/** A text of at most 500 characters; empty when it is left out. */
export function optionalText(parameters: Parameters, name: string): string {
  const value = parameters[name] ?? '';
  if (typeof value !== 'string' || value.length > textMax) {
    throw invalid('parameter_invalid', `${name} is not a text of at most ${textMax} characters`);
  }
  return value;
}

/** An amount in minor units as the API writes it: `"59900"`, above zero, at most 18 digits. */
export function readAmount(parameters: Parameters): string {
  const value = parameters['amount_minor'];
  if (typeof value !== 'string' || !amountPattern.test(value)) {
    throw invalid('amount_invalid', 'amount_minor is not a whole number above zero, written as a string');
  }
  return value;
}

/** Whether a page takes money or only saves a card; `payment` when it is left out. */
export function readMode(parameters: Parameters): 'payment' | 'setup' {
  const value = parameters['mode'] ?? 'payment';
  if (value !== 'payment' && value !== 'setup') throw invalid('parameter_invalid', 'mode is not payment or setup');
  return value;
}

/** An ISO 4217 code that Intl knows. */
export function readCurrency(parameters: Parameters): string {
  const value = parameters['currency'];
  if (typeof value !== 'string' || !currencies.has(value)) {
    throw invalid('currency_invalid', 'currency is not an ISO 4217 code such as "RUB"');
  }
  return value;
}

/** A whole number within bounds; `otherwise` when it is left out. */
export function readWhole(
  value: unknown,
  name: string,
  { min, max, otherwise }: { min: number; max: number; otherwise: number },
): number {
  if (value === undefined || value === null) return otherwise;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
    throw invalid('parameter_invalid', `${name} is not a whole number from ${min} to ${max}`);
  }
  return value;
}

/** An http or https address, or empty. */
export function readReturnUrl(parameters: Parameters): string {
  const value = optionalText(parameters, 'return_url');
  const url = value === '' ? undefined : URL.parse(value);
  if (url === undefined || url?.protocol === 'http:' || url?.protocol === 'https:') return value;
  throw invalid('parameter_invalid', 'return_url is not an http or https address');
}

function invalid(code: string, message: string): ApiError {
  return new ApiError(400, code, message);
}

/** A payment system that the service charges through, with the options of its provider. */
export type PaymentConfig =
  | {
      readonly provider: 'sandbox';
      readonly baseUrl: string;
      readonly apiKey: string;
      /** One, or two while the secret is being changed. */
      readonly webhookSecrets: readonly string[];
    }
  | {
      readonly provider: 'stripe';
      readonly baseUrl: string;
      readonly apiKey: string;
      readonly account: string;
      /** One, or two while the secret is being changed. */
      readonly webhookSecrets: readonly string[];
      readonly returnUrl: string;
    }
  | {
      readonly provider: 'yookassa';
      readonly baseUrl: string;
      readonly shopId: string;
      readonly secretKey: string;
      readonly returnUrl: string;
      /** Addresses, networks, or `any`. */
      readonly noticeAddresses: readonly string[];
      /** Undefined where somebody else issues the receipts. */
      readonly receipts: { readonly vatCode: number; readonly subject: string; readonly mode: string } | undefined;
      readonly taxSystemCode: number | undefined;
    };

/** Where YooKassa sends notifications from (yookassa.ru/developers/using-api/webhooks). */
const yookassaAddresses = [
  '185.71.76.0/27',
  '185.71.77.0/27',
  '77.75.153.0/25',
  '77.75.154.128/25',
  '77.75.156.11',
  '77.75.156.35',
  '2a02:5180::/32',
];
const networkForm = /^(any|[0-9a-f.:]+(\/[0-9]{1,3})?)$/i;

/** Codes of YooKassa's receipts (yookassa.ru/developers/payment-acceptance/receipts/54fz). */
const vatCodeMax = 12;
const taxSystemCodeMax = 6;

export const paymentProviders = ['sandbox', 'stripe', 'yookassa'] as const;
type ProviderName = (typeof paymentProviders)[number];

/** How a variable is read; what is missing or wrong is noted by the reader. */
export interface PaymentReader {
  optional(name: string): string | undefined;
  problem(text: string): void;
  text(name: string, otherwise?: string): string;
  url(name: string, protocols: readonly string[], otherwise?: string): string;
  secrets(name: string): string[];
  form(name: string, form: RegExp, what: string): string;
  integer(name: string, otherwise: number, min: number, max: number): number;
  list(name: string, form: RegExp, what: string, otherwise: readonly string[]): readonly string[];
}

/** What is charged through, in the order of the configuration, and what new customers get for a currency. */
export interface PaymentsConfig {
  readonly payments: readonly PaymentConfig[];
  /** By currency code; for a currency that is not in it, the first of them that takes it. */
  readonly providerOfCurrency: ReadonlyMap<string, string>;
}

/** Reads PAYMENT_PROVIDER, PAYMENT_PROVIDER_BY_CURRENCY and the variables of the payment systems that are named. */
export function readPayments(read: PaymentReader, production: boolean): PaymentsConfig {
  const names = namesOf(read);
  return {
    payments: Object.freeze(names.map((name) => Object.freeze(readPayment(name, read, production)))),
    providerOfCurrency: currenciesOf(names, read),
  };
}

function namesOf(read: PaymentReader): ProviderName[] {
  const words = read
    .text('PAYMENT_PROVIDER')
    .split(',')
    .map((word) => word.trim());
  const names = paymentProviders
    .filter((name) => words.includes(name))
    .sort((a, b) => words.indexOf(a) - words.indexOf(b));
  if (words.join() === '') return ['sandbox'];
  if (names.length !== words.length) {
    read.problem(
      `PAYMENT_PROVIDER has to be one of: ${paymentProviders.join(', ')}; or several, each once, with commas`,
    );
  }
  if (names.length > 1 && names.includes('sandbox')) {
    read.problem('PAYMENT_PROVIDER: sandbox takes play money and cannot stand beside another one');
  }
  return names.length === 0 ? ['sandbox'] : names;
}

function currenciesOf(names: readonly ProviderName[], read: PaymentReader): ReadonlyMap<string, string> {
  const variable = 'PAYMENT_PROVIDER_BY_CURRENCY';
  const found = new Map<string, string>();
  for (const entry of read.optional(variable)?.split(',') ?? []) {
    const [, currency, name] = /^([A-Z]{3}):([a-z]+)$/.exec(entry.trim()) ?? [];
    if (currency === undefined || name === undefined) {
      read.problem(`${variable} has to list currencies with their payment system, such as RUB:yookassa,EUR:stripe`);
    } else if (!names.some((known) => known === name)) {
      read.problem(`${variable}: ${currency} goes to ${name}, which is not in PAYMENT_PROVIDER`);
    } else if (found.has(currency)) {
      read.problem(`${variable} names ${currency} twice`);
    } else found.set(currency, name);
  }
  return found;
}

/** The variables of one payment system; those of the others are not looked at. */
function readPayment(provider: ProviderName, read: PaymentReader, production: boolean): PaymentConfig {
  // Keys and cards' digits travel there.
  const protocols = production ? ['https:'] : ['https:', 'http:'];
  switch (provider) {
    case 'sandbox':
      return {
        provider,
        baseUrl: read.url('SANDBOX_PAYMENT_URL', ['http:', 'https:']),
        apiKey: read.text('SANDBOX_PAYMENT_API_KEY'),
        webhookSecrets: read.secrets('SANDBOX_PAYMENT_WEBHOOK_SECRET'),
      };
    case 'stripe':
      return {
        provider,
        baseUrl: read.url('STRIPE_API_URL', protocols, 'https://api.stripe.com'),
        apiKey: read.form('STRIPE_API_KEY', /^[sr]k_(test|live)_\w+$/, 'a secret or restricted key: sk_… or rk_…'),
        account: read.form('STRIPE_ACCOUNT', /^acct_\w+$/, 'the account that the key belongs to: acct_…'),
        webhookSecrets: read.secrets('STRIPE_WEBHOOK_SECRET'),
        returnUrl: read.url('STRIPE_RETURN_URL', protocols),
      };
    case 'yookassa':
      return {
        provider,
        baseUrl: read.url('YOOKASSA_API_URL', protocols, 'https://api.yookassa.ru/v3'),
        shopId: read.form('YOOKASSA_SHOP_ID', /^[0-9]{1,20}$/, 'the number of the shop'),
        secretKey: read.text('YOOKASSA_SECRET_KEY'),
        returnUrl: read.url('YOOKASSA_RETURN_URL', protocols),
        noticeAddresses: read.list('YOOKASSA_NOTICE_ADDRESSES', networkForm, 'addresses or any', yookassaAddresses),
        ...readReceipts(read),
      };
  }
}

/** Receipts are asked for where the VAT code is set: without one, the shop has a register of its own. */
function readReceipts(
  read: PaymentReader,
): Pick<PaymentConfig & { provider: 'yookassa' }, 'receipts' | 'taxSystemCode'> {
  if (read.optional('YOOKASSA_RECEIPT_VAT_CODE') === undefined)
    return { receipts: undefined, taxSystemCode: undefined };
  const taxSystem = 'YOOKASSA_RECEIPT_TAX_SYSTEM_CODE';
  return {
    receipts: Object.freeze({
      vatCode: read.integer('YOOKASSA_RECEIPT_VAT_CODE', 1, 1, vatCodeMax),
      subject: read.text('YOOKASSA_RECEIPT_SUBJECT', 'service'),
      mode: read.text('YOOKASSA_RECEIPT_MODE', 'full_payment'),
    }),
    taxSystemCode: read.optional(taxSystem) === undefined ? undefined : read.integer(taxSystem, 1, 1, taxSystemCodeMax),
  };
}

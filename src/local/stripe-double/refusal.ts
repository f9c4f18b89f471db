/** An error answer in Stripe's form. */
export class StripeRefusal extends Error {
  readonly status: number;
  readonly code: string;
  readonly param: string | undefined;
  readonly type: string;
  /** Further fields of the error. */
  readonly more: Record<string, unknown>;

  constructor(
    status: number,
    code: string,
    message: string,
    param?: string,
    { type = 'invalid_request_error', ...more }: Record<string, unknown> & { type?: string } = {},
  ) {
    super(message);
    this.status = status;
    this.code = code;
    this.param = param;
    this.type = type;
    this.more = more;
  }
}

/** The refusal of an object that is not there. */
export function missing(what: string, id: string, status = 404, param = 'id'): StripeRefusal {
  return new StripeRefusal(status, 'resource_missing', `No such ${what}: '${id}'`, param);
}

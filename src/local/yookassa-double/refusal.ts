/** An error answer in YooKassa's form. */
export class YookassaRefusal extends Error {
  readonly status: number;
  readonly code: string;
  readonly parameter: string | undefined;

  constructor(status: number, code: string, description: string, parameter?: string) {
    super(description);
    this.status = status;
    this.code = code;
    this.parameter = parameter;
  }
}

export const invalid = (description: string, parameter?: string) =>
  new YookassaRefusal(400, 'invalid_request', description, parameter);

/** What a caller can do about an error; transport maps each kind to one gRPC status. */
export type ErrorKind =
  | 'not-found'
  | 'exists'
  | 'invalid'
  | 'wrong-state'
  | 'conflict'
  | 'unauthenticated'
  | 'forbidden'
  | 'unavailable'
  | 'exhausted'
  | 'deadline'
  | 'unimplemented'
  | 'bug';

export interface FieldViolation {
  /** Path of the field in the request message: `price_id`. */
  field: string;
  description: string;
}

export interface BillingErrorOptions {
  /** For the log only, never for the caller. */
  cause?: unknown;
  /** Facts for programs, sent as ErrorInfo.metadata. */
  metadata?: Record<string, string>;
  fieldViolations?: FieldViolation[];
  /** When the caller may try again; sent as RetryInfo. */
  retryDelayMs?: number;
}

/**
 * An error that a caller may see. `reason` is UPPER_SNAKE and documented in docs/errors.md, `message` is written for
 * the caller; what is private goes into `cause`.
 */
export class BillingError extends Error {
  override readonly name = 'BillingError';
  readonly kind: ErrorKind;
  readonly reason: string;
  readonly metadata: Record<string, string>;
  readonly fieldViolations: FieldViolation[];
  readonly retryDelayMs: number | undefined;

  constructor(kind: ErrorKind, reason: string, message: string, options: BillingErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.kind = kind;
    this.reason = reason;
    this.metadata = options.metadata ?? {};
    this.fieldViolations = options.fieldViolations ?? [];
    this.retryDelayMs = options.retryDelayMs;
  }
}

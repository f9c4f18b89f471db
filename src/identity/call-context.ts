import type { Logger } from 'pino';
import type { EntityManager } from '../db/orm.ts';
import type { Actor } from './actor.ts';

/** What every use case gets first: who acts, and with what. */
export interface CallContext {
  /** Of the whole service; a use case works on forks of it. */
  readonly em: EntityManager;
  readonly actor: Actor;
  readonly log: Logger;
  /** W3C trace context of the call; empty when there is none. */
  readonly traceparent: string;
  /** The service's own, the same on every replica: signs page tokens, keys hashes. */
  readonly secret: string;
  /**
   * Tells the loops of this process that there may be work now, and its list of plans that one has changed; they find
   * out by themselves if it is lost.
   */
  readonly wake: (loop: 'relay' | 'webhooks' | 'renewals' | 'plans') => void;
}

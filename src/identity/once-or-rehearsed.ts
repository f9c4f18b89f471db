import type { EntityManager } from '../db/orm.ts';
import { rehearse } from '../db/rehearse.ts';
import type { CallContext } from './call-context.ts';
import { once, type RequestKey } from './once.ts';

/** For calls with `validate_only`: a preview leaves no trace, not even its request id; anything else is done once. */
export async function onceOrRehearsed<R>(
  ctx: CallContext,
  key: RequestKey,
  validateOnly: boolean,
  work: (tx: EntityManager) => Promise<R>,
): Promise<R> {
  return validateOnly ? rehearse(ctx.em, work) : once(ctx, key, work);
}

import type { ExecutionContext } from 'ava';
import { RpcError } from '../cli/grpc-client.ts';

/** With which code and reason the call is refused: `NOT_FOUND PLAN_NOT_FOUND`. Fails the test where it is answered. */
export async function refused(t: ExecutionContext, call: Promise<unknown>): Promise<string> {
  const error = await t.throwsAsync(call, { instanceOf: RpcError });
  return `${error!.code} ${error!.reason}`;
}

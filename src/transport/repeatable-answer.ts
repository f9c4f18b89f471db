import {
  create,
  fromJsonString,
  toJsonString,
  type DescMessage,
  type MessageInitShape,
  type MessageShape,
} from '@bufbuild/protobuf';
import type { CallContext } from '../identity/call-context.ts';
import { once, requestKey } from '../identity/once.ts';

/**
 * The answer to a command that shows more than the command itself stored, such as the card by its last digits: kept as
 * the first call gave it, so that a repeat of the request id is answered byte for byte though the card has changed. A
 * preview keeps nothing. Whether the repeat asks the same, the command itself has checked.
 */
export async function repeatableAnswer<Desc extends DescMessage>(
  ctx: CallContext,
  schema: Desc,
  { requestId, validateOnly }: { requestId: string; validateOnly: boolean },
  answer: MessageInitShape<Desc>,
): Promise<MessageShape<Desc>> {
  const message = create(schema, answer);
  if (validateOnly) return message;
  const key = requestKey(ctx, schema.typeName, requestId, {});
  return fromJsonString(schema, await once(ctx, key, async () => toJsonString(schema, message)));
}

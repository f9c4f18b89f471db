import { toBinary, type DescMessage, type Message, type MessageShape } from '@bufbuild/protobuf';

/** Undefined until the answer was first sent over gRPC. An entry is gone with its message. */
const encodedAnswers = new WeakMap<Message, Buffer | undefined>();

/** Marks an answer that goes out many times: over gRPC it is encoded once. Nobody may change it any more. */
export function keptAnswer<Answer extends Message>(answer: Answer): Answer {
  encodedAnswers.set(answer, undefined);
  return answer;
}

/** The answer's bytes for grpc-js. */
export function encodeAnswer<Schema extends DescMessage>(schema: Schema, answer: MessageShape<Schema>): Buffer {
  const known = encodedAnswers.get(answer);
  if (known !== undefined) return known;
  const { buffer, byteOffset, byteLength } = toBinary(schema, answer);
  // A view, not a copy; grpc-js copies with Buffer's own methods.
  const encoded = Buffer.from(buffer, byteOffset, byteLength);
  if (encodedAnswers.has(answer)) encodedAnswers.set(answer, encoded);
  return encoded;
}

import { createServer } from 'node:http';
import { create, fromBinary, toBinary, type DescMessage, type MessageShape } from '@bufbuild/protobuf';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { Server, ServerCredentials, type handleUnaryCall, type MethodDefinition } from '@grpc/grpc-js';
import { Pool } from 'pg';
import {
  EntitlementService,
  GetEntitlementRequestSchema,
  GetEntitlementResponseSchema,
} from '@cinema-billing/gen/billing/v1/entitlement_service_pb.ts';
import {
  ListPlansRequestSchema,
  ListPlansResponseSchema,
  PlanService,
} from '@cinema-billing/gen/billing/v1/plan_service_pb.ts';
import { entitlementsStatement } from '../../src/entitlements/read-entitlements.ts';
import type { Grant } from '../../src/outbox/enqueue.ts';
import { toTimestamp } from '../../src/transport/messages/instant.ts';
import type { BareInput } from '../rpc.ts';

/** As many connections as the service's own pool. */
const poolSizeMax = 12;

type Unary<Input extends DescMessage, Output extends DescMessage> = (
  request: MessageShape<Input>,
) => Promise<MessageShape<Output>>;

function add<Input extends DescMessage, Output extends DescMessage>(
  server: Server,
  [path, input, output]: [path: string, input: Input, output: Output],
  answer: Unary<Input, Output>,
): void {
  const definition: MethodDefinition<MessageShape<Input>, MessageShape<Output>> = {
    path,
    requestStream: false,
    responseStream: false,
    requestDeserialize: (bytes) => fromBinary(input, bytes),
    responseSerialize: (message) => Buffer.from(toBinary(output, message)),
    requestSerialize: (message) => Buffer.from(toBinary(input, message)),
    responseDeserialize: (bytes) => fromBinary(output, bytes),
  };
  const handle: handleUnaryCall<MessageShape<Input>, MessageShape<Output>> = async (call, callback) =>
    callback(null, await answer(call.request));
  server.addService({ handle: definition }, { handle: handle as never });
}

/** What any grpc-js server has to do: decode, look up with the service's own statement, encode. */
async function serveGrpc({ port, databaseUrl, answer }: BareInput): Promise<void> {
  const pool = new Pool({ connectionString: databaseUrl, max: poolSizeMax });
  const plans = fromBinary(ListPlansResponseSchema, Buffer.from(answer, 'base64'));
  const server = new Server({ 'grpc.enable_channelz': 0 });
  add(
    server,
    [`/${PlanService.typeName}/ListPlans`, ListPlansRequestSchema, ListPlansResponseSchema],
    async () => plans,
  );
  add(
    server,
    [`/${EntitlementService.typeName}/GetEntitlement`, GetEntitlementRequestSchema, GetEntitlementResponseSchema],
    async ({ userId }) => {
      const { rows } = await pool.query<Record<string, string> & { grants: Grant[] }>(entitlementsStatement, [
        [userId],
      ]);
      return toAnswer(rows[0]!);
    },
  );
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error) =>
      error ? reject(error) : resolve(),
    );
  });
}

function toAnswer(
  row: Record<string, string> & { grants: Grant[] },
): MessageShape<typeof GetEntitlementResponseSchema> {
  const instant = (text: string) => toTimestamp(Temporal.Instant.from(text));
  const now = Temporal.Instant.from(row['as_of']!);
  const running = row.grants.filter(
    (grant) => Temporal.Instant.compare(Temporal.Instant.from(grant.access_until), now) > 0,
  );
  return create(GetEntitlementResponseSchema, {
    asOf: toTimestamp(now),
    entitlement: {
      userId: row['user_id']!,
      version: BigInt(row['version']!),
      rightsVersion: BigInt(row['rights_version']!),
      features: [...new Set(running.flatMap((grant) => grant.features))].sort(),
      updatedAt: instant(row['updated_at']!),
      grants: row.grants.map((grant) => ({
        productLine: grant.product_line,
        subscriptionId: grant.subscription_id,
        planCode: grant.plan_code,
        features: [...grant.features],
        accessUntil: instant(grant.access_until),
        inGrace: grant.in_grace,
      })),
    },
  });
}

/** connect-node as its own documentation sets it up. */
async function serveConnect({ port, answer }: BareInput): Promise<void> {
  const plans = fromBinary(ListPlansResponseSchema, Buffer.from(answer, 'base64'));
  const handler = connectNodeAdapter({ routes: (router) => router.rpc(PlanService.method.listPlans, () => plans) });
  await new Promise<void>((resolve) => createServer(handler).listen(port, '127.0.0.1', resolve));
}

const input = JSON.parse(process.argv[2]!) as BareInput;
await (input.kind === 'grpc' ? serveGrpc(input) : serveConnect(input));
// As the service does; without it a profiled process leaves no profile.
process.on('SIGTERM', () => process.exit(0));

import {
  create,
  createFileRegistry,
  fromBinary,
  fromJson,
  getOption,
  hasOption,
  toBinary,
  toJson,
  type DescMethod,
  type JsonValue,
} from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import test from 'ava';
import { access } from '@cinema-billing/gen/billing/options/v1/access_pb.ts';
import { PlanService } from '@cinema-billing/gen/billing/v1/plan_service_pb.ts';
import { WebhookService } from '@cinema-billing/gen/billing/v1/webhook_service_pb.ts';
import { http } from '@cinema-billing/gen/google/api/annotations_pb.ts';
import {
  ServerReflectionRequestSchema,
  ServerReflectionResponseSchema,
  type ServerReflectionRequest,
  type ServerReflectionResponse,
} from '@cinema-billing/gen/grpc/reflection/v1/reflection_pb.ts';
import { startTestTransport, type TestTransport } from '../testing/running-transport.ts';

const answer = async () => ({});
const addServices: Parameters<typeof startTestTransport>[0] = (router) => {
  router.add(PlanService, { listPlans: answer, getPlan: answer });
  router.add(WebhookService, { receiveWebhook: answer });
};
let server: TestTransport;

test.before(async () => {
  server = await startTestTransport(addServices);
});
test.after.always(async () => {
  await server.stop();
});

/** One question on a stream of its own. */
function ask(
  messageRequest: ServerReflectionRequest['messageRequest'],
  to: TestTransport = server,
): Promise<ServerReflectionResponse> {
  const stream = to.grpcClient.makeBidiStreamRequest(
    '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
    (request: ServerReflectionRequest) => Buffer.from(toBinary(ServerReflectionRequestSchema, request)),
    (bytes: Buffer) => fromBinary(ServerReflectionResponseSchema, bytes),
  );
  stream.write(create(ServerReflectionRequestSchema, { host: 'here', messageRequest }));
  stream.end();
  return new Promise((resolve, reject) => {
    stream.on('data', resolve);
    stream.on('error', reject);
  });
}

async function filesOf(messageRequest: ServerReflectionRequest['messageRequest'], to: TestTransport = server) {
  const { messageResponse } = await ask(messageRequest, to);
  if (messageResponse.case !== 'fileDescriptorResponse') throw new Error(`got ${messageResponse.case}`);
  return messageResponse.value.fileDescriptorProto.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes));
}

test('lists the services', async (t) => {
  const { messageResponse } = await ask({ case: 'listServices', value: '' });
  t.is(messageResponse.case, 'listServicesResponse');
  t.deepEqual(
    messageResponse.case === 'listServicesResponse' && messageResponse.value.service.map(({ name }) => name),
    ['billing.v1.PlanService', 'billing.v1.WebhookService', 'grpc.reflection.v1.ServerReflection'],
  );
});

test('serves a service with all that it imports, complete enough to build it again', async (t) => {
  const file = await filesOf({ case: 'fileContainingSymbol', value: 'billing.v1.WebhookService' });
  const names = file.map(({ name }) => name);
  t.is(names.at(-1), 'billing/v1/webhook_service.proto');
  for (const name of ['google/api/annotations.proto', 'google/api/httpbody.proto', 'billing/options/v1/access.proto']) {
    t.true(names.includes(name), name);
  }
  const registry = createFileRegistry(create(FileDescriptorSetSchema, { file }));
  t.is(registry.getService('billing.v1.WebhookService')?.method['receiveWebhook']?.name, 'ReceiveWebhook');
});

test('keeps our own options: who may call, and the REST rule', async (t) => {
  const file = await filesOf({ case: 'fileContainingSymbol', value: 'billing.v1.PlanService.GetPlan' });
  const rebuilt = createFileRegistry(create(FileDescriptorSetSchema, { file }));
  const method = rebuilt.getService('billing.v1.PlanService')!.method['getPlan']!;
  t.true(hasOption(method, access));
  t.true(getOption(method, access).public);
  t.is(getOption(method, http).pattern.value, '/v1/plans/{code}');
});

test('finds files by name, by message and by extension', async (t) => {
  const byName = await filesOf({ case: 'fileByFilename', value: 'billing/v1/money.proto' });
  t.is(byName.at(-1)?.name, 'billing/v1/money.proto');
  const byMessage = await filesOf({ case: 'fileContainingSymbol', value: 'billing.v1.Price' });
  t.is(byMessage.at(-1)?.name, 'billing/v1/plan.proto');
  const containingType = 'google.protobuf.MethodOptions';
  const byExtension = await filesOf({
    case: 'fileContainingExtension',
    value: { $typeName: 'grpc.reflection.v1.ExtensionRequest', containingType, extensionNumber: 50001 },
  });
  t.is(byExtension.at(-1)?.name, 'billing/options/v1/access.proto');
  const { messageResponse } = await ask({ case: 'allExtensionNumbersOfType', value: containingType });
  t.deepEqual(
    messageResponse.case === 'allExtensionNumbersResponse' && messageResponse.value.extensionNumber.toSorted(),
    [50001, 72295728],
  );
});

test('a client that knows nothing but the address finds a method, calls it, and reads its answer and its errors', async (t) => {
  const price = { amount: { currencyCode: 'RUB', amountMinor: 59_900n } };
  const shop = await startTestTransport((router) =>
    router.add(PlanService, {
      listPlans: async () => ({ plans: [{ code: 'premium', name: 'Премиум', prices: [price] }] }),
      getPlan: answer,
    }),
  );
  t.teardown(() => shop.stop());
  const listed = await ask({ case: 'listServices', value: '' }, shop);
  const services = listed.messageResponse.case === 'listServicesResponse' ? listed.messageResponse.value.service : [];
  const { name } = services.find((service) => !service.name.startsWith('grpc.'))!;
  const file = await filesOf({ case: 'fileContainingSymbol', value: name }, shop);
  const registry = createFileRegistry(create(FileDescriptorSetSchema, { file }));
  const { methods } = registry.getService(name)!;

  const call = (method: DescMethod, json: JsonValue) =>
    new Promise<JsonValue>((resolve, reject) => {
      shop.grpcClient.makeUnaryRequest(
        `/${name}/${method.name}`,
        (bytes: Buffer) => bytes,
        (bytes: Buffer) => bytes,
        Buffer.from(toBinary(method.input, fromJson(method.input, json, { registry }))),
        (error, bytes) =>
          error ? reject(error) : resolve(toJson(method.output, fromBinary(method.output, bytes!), { registry })),
      );
    });
  const [listPlans, getPlan] = methods;
  t.deepEqual(await call(listPlans!, { currencyCode: 'RUB' }), {
    plans: [{ code: 'premium', name: 'Премиум', prices: [{ amount: { currencyCode: 'RUB', amountMinor: '59900' } }] }],
  });
  await t.throwsAsync(call(getPlan!, {}), { message: /^3 INVALID_ARGUMENT: fields of the request are not valid$/ });
});

test('says NOT_FOUND for what it does not have, and goes on', async (t) => {
  for (const messageRequest of [
    { case: 'fileContainingSymbol', value: 'billing.v1.Nothing' },
    { case: 'fileByFilename', value: '../../etc/passwd' },
    { case: 'allExtensionNumbersOfType', value: 'billing.v1.Nothing' },
  ] as const) {
    const { messageResponse } = await ask(messageRequest);
    t.is(messageResponse.case, 'errorResponse');
    t.is(messageResponse.case === 'errorResponse' && messageResponse.value.errorCode, 5);
  }
});

test('is not there when it is switched off', async (t) => {
  const quiet = await startTestTransport(addServices, { reflection: false });
  t.teardown(() => quiet.stop());
  await t.throwsAsync(ask({ case: 'listServices', value: '' }, quiet), { message: /UNIMPLEMENTED/ });
});

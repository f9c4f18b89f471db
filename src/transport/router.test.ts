import { create, createFileRegistry, type DescService } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import test from 'ava';
import { PlanService } from '@cinema-billing/gen/billing/v1/plan_service_pb.ts';
import { SubscriptionService } from '@cinema-billing/gen/billing/v1/subscription_service_pb.ts';
import { ServerReflection } from '@cinema-billing/gen/grpc/reflection/v1/reflection_pb.ts';
import { createRouter } from './router.ts';

const planService = { listPlans: async () => ({}), getPlan: async () => ({}) };

/** A service whose contract does not say who may call it. */
function undeclaredService(): DescService {
  const file = create(FileDescriptorProtoSchema, {
    name: 'undeclared.proto',
    package: 'undeclared',
    syntax: 'proto3',
    messageType: [{ name: 'Nothing' }],
    service: [
      {
        name: 'OpenService',
        method: [{ name: 'Open', inputType: '.undeclared.Nothing', outputType: '.undeclared.Nothing' }],
      },
    ],
  });
  const registry = createFileRegistry(create(FileDescriptorSetSchema, { file: [file] }));
  return registry.getService('undeclared.OpenService')!;
}

test('refuses a service of which an RPC is not implemented', (t) => {
  const partly = { listPlans: planService.listPlans } as unknown as typeof planService;
  t.throws(() => createRouter().add(PlanService, partly), { message: /billing\.v1\.PlanService\/GetPlan is not impl/ });
});

test('refuses an RPC whose contract does not say who may call it', (t) => {
  t.throws(() => createRouter().add(undeclaredService(), { open: async () => ({}) } as never), {
    message: /undeclared\.OpenService\/Open does not declare who may call it/,
  });
});

test('refuses a streaming RPC', (t) => {
  t.throws(() => createRouter().add(ServerReflection, { serverReflectionInfo: async () => ({}) } as never), {
    message: /not unary/,
  });
});

test('refuses the same service twice', (t) => {
  const router = createRouter();
  router.add(PlanService, planService);
  t.throws(() => router.add(PlanService, planService), { message: /added twice/ });
});

test('reads the access rules from the contracts', (t) => {
  const router = createRouter();
  router.add(PlanService, planService);
  const answer = async () => ({});
  router.add(SubscriptionService, {
    subscribe: answer,
    getSubscription: answer,
    previewSubscribe: answer,
    listSubscriptions: answer,
    listSubscriptionEvents: answer,
    cancelSubscription: answer,
    resumeSubscription: answer,
    retryPayment: answer,
    changePlan: answer,
    previewPlanChange: answer,
    listPayments: answer,
  });
  const rules = new Map(router.methods.map(({ name, access }) => [name, access]));
  t.deepEqual(rules.get('billing.v1.PlanService/ListPlans'), {
    public: true,
    customer: false,
    serviceScopes: [],
    operatorRole: undefined,
  });
  t.deepEqual(rules.get('billing.v1.SubscriptionService/GetSubscription'), {
    public: false,
    customer: true,
    serviceScopes: ['billing.read', 'billing.write'],
    operatorRole: undefined,
  });
});

import {
  create,
  getOption,
  hasOption,
  type DescMethod,
  type DescService,
  type Message,
  type MessageInitShape,
  type MessageShape,
} from '@bufbuild/protobuf';
import { createValidator, type Validator } from '@bufbuild/protovalidate';
import { access, OperatorRole as ProtoRole } from '@cinema-billing/gen/billing/options/v1/access_pb.ts';
import type { OperatorRole } from '../identity/actor.ts';
import type { AccessRule } from '../identity/authorize.ts';
import type { Call } from './call.ts';

/** One function per RPC of the service, all of them. */
export type ServiceImpl<Service extends DescService> = {
  [Name in keyof Service['method']]: MethodImpl<Service['method'][Name]>;
};
type MethodImpl<Method extends DescMethod> = Method['methodKind'] extends 'unary'
  ? (call: Call, request: MessageShape<Method['input']>) => Promise<MessageInitShape<Method['output']>>
  : never;

/** An RPC as dispatch and the entrances see it. */
export interface Method {
  /** `billing.v1.PlanService/ListPlans` */
  readonly name: string;
  readonly desc: DescMethod;
  readonly access: AccessRule;
  readonly handle: (call: Call, request: Message) => Promise<MessageInitShape<DescMethod['output']>>;
}

export interface Router {
  /**
   * Adds a service. Throws where an RPC has no implementation, is not unary, has rules that do not compile, or does
   * not declare who may call it: what is not allowed by name is denied.
   */
  add<Service extends DescService>(service: Service, impl: ServiceImpl<Service>): void;
  readonly services: readonly DescService[];
  readonly methods: readonly Method[];
  /** One for all calls, because it compiles each message's rules once. */
  readonly validator: Validator;
}

/** An empty router. */
export function createRouter(): Router {
  const services: DescService[] = [];
  const methods: Method[] = [];
  const validator = createValidator();
  return {
    services,
    methods,
    validator,
    add(service, impl) {
      if (services.some((known) => known.typeName === service.typeName)) {
        throw new Error(`${service.typeName} is added twice`);
      }
      const byName: Partial<Record<string, unknown>> = impl;
      const added = service.methods.map((desc) => readMethod(desc, byName[desc.localName], validator));
      services.push(service);
      methods.push(...added);
    },
  };
}

function readMethod(desc: DescMethod, impl: unknown, validator: Validator): Method {
  const name = `${desc.parent.typeName}/${desc.name}`;
  if (typeof impl !== 'function') throw new Error(`${name} is not implemented`);
  if (desc.methodKind !== 'unary') throw new Error(`${name} is not unary: streams are not supported`);
  const compiled = validator.validate(desc.input, create(desc.input));
  if (compiled.kind === 'error') throw new Error(`${name}: its rules do not compile`, { cause: compiled.error });
  return { name, desc, access: readAccessRule(desc, name), handle: impl as Method['handle'] };
}

/** Who may call, from the contract. Throws when the contract does not say, or lists nobody. */
export function readAccessRule(desc: DescMethod, name: string): AccessRule {
  if (!hasOption(desc, access)) throw new Error(`${name} does not declare who may call it (billing.options.v1.access)`);
  const option = getOption(desc, access);
  const rule = {
    public: option.public,
    customer: option.customer,
    serviceScopes: option.serviceScopes,
    operatorRole: readRole(option.operatorRole, name),
  };
  if (!rule.public && !rule.customer && rule.serviceScopes.length === 0 && rule.operatorRole === undefined) {
    throw new Error(`${name} lists nobody who may call it`);
  }
  return rule;
}

function readRole(role: ProtoRole, name: string): OperatorRole | undefined {
  switch (role) {
    case ProtoRole.UNSPECIFIED:
      return undefined;
    case ProtoRole.READ_ONLY:
      return 'read_only';
    case ProtoRole.SUPPORT:
      return 'support';
    case ProtoRole.ADMIN:
      return 'admin';
    default:
      throw new Error(`${name} names an unknown operator role`);
  }
}

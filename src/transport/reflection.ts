import {
  create,
  fromBinary,
  toBinary,
  type DescExtension,
  type DescFile,
  type DescMessage,
  type DescService,
  type MessageInitShape,
} from '@bufbuild/protobuf';
import { nestedTypes } from '@bufbuild/protobuf/reflect';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { status, type handleBidiStreamingCall, type MethodDefinition, type Server } from '@grpc/grpc-js';
import {
  ServerReflection,
  ServerReflectionRequestSchema,
  ServerReflectionResponseSchema,
  type ServerReflectionRequest,
  type ServerReflectionResponse,
} from '@cinema-billing/gen/grpc/reflection/v1/reflection_pb.ts';

type Answer = NonNullable<MessageInitShape<typeof ServerReflectionResponseSchema>['messageResponse']>;

/** Everything that reflection can be asked about, by name. */
interface Index {
  readonly services: string[];
  readonly filesByName: Map<string, DescFile>;
  readonly filesBySymbol: Map<string, DescFile>;
  readonly extensionsByTarget: Map<string, DescExtension[]>;
}

/**
 * Adds grpc.reflection.v1, so that grpcurl needs no proto files. It serves the descriptors as they were compiled, our
 * own options included; the package @grpc/reflection drops those. Health is not listed: grpc-health-check brings no
 * descriptor that can be served.
 */
export function addReflection(server: Server, services: readonly DescService[]): void {
  const index = buildIndex([...services, ServerReflection]);
  const { serverReflectionInfo: method } = ServerReflection.method;
  const definition: MethodDefinition<ServerReflectionRequest, ServerReflectionResponse> = {
    path: `/${ServerReflection.typeName}/${method.name}`,
    requestStream: true,
    responseStream: true,
    requestDeserialize: (bytes) => fromBinary(ServerReflectionRequestSchema, bytes),
    responseSerialize: (response) => Buffer.from(toBinary(ServerReflectionResponseSchema, response)),
    requestSerialize: (request) => Buffer.from(toBinary(ServerReflectionRequestSchema, request)),
    responseDeserialize: (bytes) => fromBinary(ServerReflectionResponseSchema, bytes),
  };
  const handler: handleBidiStreamingCall<ServerReflectionRequest, ServerReflectionResponse> = (call) => {
    call.on('data', (request: ServerReflectionRequest) => {
      const { host } = request;
      const messageResponse = answer(index, request);
      call.write(
        create(ServerReflectionResponseSchema, { validHost: host, originalRequest: request, messageResponse }),
      );
    });
    call.on('end', () => call.end());
  };
  server.addService({ [method.name]: definition }, { [method.name]: handler });
}

function answer(index: Index, { messageRequest }: ServerReflectionRequest): Answer {
  switch (messageRequest.case) {
    case 'listServices':
      return { case: 'listServicesResponse', value: { service: index.services.map((name) => ({ name })) } };
    case 'fileByFilename':
      return fileAnswer(index.filesByName.get(messageRequest.value), messageRequest.value);
    case 'fileContainingSymbol':
      return fileAnswer(index.filesBySymbol.get(messageRequest.value), messageRequest.value);
    case 'fileContainingExtension': {
      const { containingType, extensionNumber } = messageRequest.value;
      const extensions = index.extensionsByTarget.get(containingType) ?? [];
      const found = extensions.find(({ number }) => number === extensionNumber);
      return fileAnswer(found?.file, `extension ${extensionNumber} of ${containingType}`);
    }
    case 'allExtensionNumbersOfType': {
      const extensions = index.extensionsByTarget.get(messageRequest.value);
      if (extensions === undefined) return notFound(messageRequest.value);
      const extensionNumber = extensions.map(({ number }) => number);
      return { case: 'allExtensionNumbersResponse', value: { baseTypeName: messageRequest.value, extensionNumber } };
    }
    case undefined:
      return { case: 'errorResponse', value: { errorCode: status.INVALID_ARGUMENT, errorMessage: 'nothing is asked' } };
  }
}

/** The file and all that it imports, imports first. */
function fileAnswer(file: DescFile | undefined, asked: string): Answer {
  if (file === undefined) return notFound(asked);
  const files = [...withImports(file)].map((one) => toBinary(FileDescriptorProtoSchema, one.proto));
  return { case: 'fileDescriptorResponse', value: { fileDescriptorProto: files } };
}

function notFound(asked: string): Answer {
  return { case: 'errorResponse', value: { errorCode: status.NOT_FOUND, errorMessage: `not found: ${asked}` } };
}

function withImports(file: DescFile, seen = new Set<DescFile>()): Set<DescFile> {
  for (const dependency of file.dependencies) {
    if (!seen.has(dependency)) withImports(dependency, seen);
  }
  return seen.add(file);
}

function buildIndex(services: readonly DescService[]): Index {
  const index: Index = {
    services: services.map(({ typeName }) => typeName).sort(),
    filesByName: new Map(),
    filesBySymbol: new Map(),
    extensionsByTarget: new Map(),
  };
  for (const file of services.flatMap((service) => [...withImports(service.file)])) {
    const name = file.proto.name;
    if (index.filesByName.has(name)) continue;
    index.filesByName.set(name, file);
    for (const type of nestedTypes(file)) {
      index.filesBySymbol.set(type.typeName, file);
      if (type.kind === 'service') {
        for (const method of type.methods) index.filesBySymbol.set(`${type.typeName}.${method.name}`, file);
      }
      if (type.kind === 'extension') addExtension(index, type);
    }
  }
  return index;
}

function addExtension(index: Index, extension: DescExtension): void {
  const target: DescMessage = extension.extendee;
  const known = index.extensionsByTarget.get(target.typeName) ?? [];
  index.extensionsByTarget.set(target.typeName, [...known, extension]);
}

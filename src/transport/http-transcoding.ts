import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  create,
  fromJson,
  isMessage,
  ScalarType,
  toJsonString,
  type DescField,
  type JsonObject,
  type JsonValue,
  type Message,
} from '@bufbuild/protobuf';
import { reflect } from '@bufbuild/protobuf/reflect';
import { HttpBodySchema } from '@cinema-billing/gen/google/api/httpbody_pb.ts';
import { BillingError } from '../lib/billing-error.ts';
import type { Dispatcher } from './dispatch.ts';
import { sendError, sendJson } from './http-answer.ts';
import { readBody, readIncoming } from './http-request.ts';
import { encodingUnsupported, httpMethodNotAllowed, malformedMessage, mediaTypeUnsupported } from './refusals.ts';
import { matchPath, readRestRoute, takesRawBytes, type RouteMatch } from './rest-route.ts';
import type { Router } from './router.ts';

const queryParametersMax = 100;

/**
 * REST for the RPCs that have a google.api.http rule. The returned function answers a request whose path it knows and
 * resolves with true; for any other path it resolves with false and leaves the request alone.
 */
export function createRestEntrance(
  router: Router,
  dispatcher: Dispatcher,
): (req: IncomingMessage, res: ServerResponse, path: string, query: string) => Promise<boolean> {
  const routes = router.methods.map(readRestRoute).filter((route) => route !== undefined);

  return async (req, res, path, query) => {
    let matches: RouteMatch[];
    try {
      matches = matchPath(routes, path);
    } catch (cause) {
      const incoming = readIncoming(req, 'rest');
      sendError(res, dispatcher.refuse(malformedMessage('the path', cause), 'rest', incoming), incoming.callId);
      return true;
    }
    if (matches.length === 0) return false;
    const match = matches.find(({ route }) => route.httpMethod === req.method);
    if (match === undefined) {
      res.setHeader('allow', matches.map(({ route }) => route.httpMethod).join(', '));
      const incoming = readIncoming(req, 'rest');
      const name = matches[0]!.route.method.name;
      sendError(res, dispatcher.refuse(httpMethodNotAllowed(), name, incoming), incoming.callId);
      return true;
    }
    await serve(match, dispatcher, req, res, query);
    return true;
  };
}

async function serve(
  match: RouteMatch,
  dispatcher: Dispatcher,
  req: IncomingMessage,
  res: ServerResponse,
  query: string,
): Promise<void> {
  const { method } = match.route;
  const incoming = readIncoming(req, 'rest');
  let message: Message;
  try {
    message = await readMessage(match, req, query);
  } catch (thrown) {
    return sendError(res, dispatcher.refuse(thrown, method.name, incoming), incoming.callId);
  }
  let answer: Message;
  try {
    answer = await dispatcher.dispatch(method, message, incoming);
  } catch (error) {
    return sendError(res, error as BillingError, incoming.callId);
  }
  if (isMessage(answer, HttpBodySchema)) {
    res.setHeader('content-type', answer.contentType);
    res.end(answer.data);
  } else sendJson(res, 200, toJsonString(method.desc.output, answer));
}

/** Path, query and body together, by protobuf's JSON mapping; unknown names are refused. */
async function readMessage({ route, pathValues }: RouteMatch, req: IncomingMessage, query: string): Promise<Message> {
  const { input } = route.method.desc;
  const json: JsonObject = {};
  let rawBody: Buffer | undefined;
  if (route.body === 'message') Object.assign(json, await readJsonBody(req));
  else if (route.body !== 'none') {
    if (takesRawBytes(route.body)) rawBody = await readBody(req);
    else json[route.body.jsonName] = await readJsonBody(req);
  }
  for (const [field, text] of pathValues) json[field.jsonName] = scalarFromText(field, text);
  const bound = new Set<DescField>(pathValues.keys());
  if (typeof route.body !== 'string') bound.add(route.body);
  const free = route.body === 'message' ? [] : input.fields.filter((field) => !bound.has(field));
  bindQuery(json, free, query);

  let message: Message;
  try {
    message = fromJson(input, json);
  } catch (cause) {
    throw malformedMessage(cause instanceof Error ? cause.message : undefined, cause);
  }
  if (rawBody !== undefined && typeof route.body !== 'string') {
    const body = create(HttpBodySchema, { contentType: req.headers['content-type'] ?? '', data: rawBody });
    reflect(input, message).set(route.body, reflect(HttpBodySchema, body));
  }
  return message;
}

async function readJsonBody(req: IncomingMessage): Promise<JsonObject> {
  // A browser sends this type across sites only after asking first, which keeps forged forms out.
  if (!/^application\/json\s*(?:;|$)/i.test(req.headers['content-type'] ?? '')) throw mediaTypeUnsupported();
  if ((req.headers['content-encoding'] ?? 'identity') !== 'identity') throw encodingUnsupported();
  const text = (await readBody(req)).toString('utf8');
  let value: JsonValue;
  try {
    value = JSON.parse(text) as JsonValue;
  } catch (cause) {
    throw malformedMessage('the body is not JSON', cause);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw malformedMessage('the body is not a JSON object');
  }
  return value;
}

/** Parameters are named as in the proto or as in JSON; a repeated field takes several. */
function bindQuery(json: JsonObject, fields: readonly DescField[], query: string): void {
  const parameters = new URLSearchParams(query);
  if (parameters.size > queryParametersMax) throw invalidParameter('', `more than ${queryParametersMax} parameters`);
  for (const [name, text] of parameters) {
    const field = fields.find((candidate) => candidate.name === name || candidate.jsonName === name);
    if (field?.fieldKind === 'scalar' || field?.fieldKind === 'enum') {
      if (Object.hasOwn(json, field.jsonName)) throw invalidParameter(name, 'given more than once');
      json[field.jsonName] = scalarFromText(field, text);
    } else if (field?.fieldKind === 'list' && field.listKind !== 'message') {
      const before = Object.hasOwn(json, field.jsonName) ? (json[field.jsonName] as JsonValue[]) : [];
      json[field.jsonName] = [...before, scalarFromText(field, text)];
    } else throw invalidParameter(name, 'unknown parameter');
  }
}

/** JSON takes numbers as text, but neither booleans nor an enum's number. */
function scalarFromText(field: DescField, text: string): JsonValue {
  const isEnum = field.fieldKind === 'enum' || (field.fieldKind === 'list' && field.listKind === 'enum');
  if (isEnum) return /^-?\d{1,10}$/.test(text) ? Number(text) : text;
  const isText = 'scalar' in field && (field.scalar === ScalarType.STRING || field.scalar === ScalarType.BYTES);
  if (isText) return text;
  if (text === 'true' || text === 'false') return text === 'true';
  return text;
}

function invalidParameter(field: string, description: string): BillingError {
  return new BillingError('invalid', 'INVALID_FIELDS', 'fields of the request are not valid', {
    fieldViolations: [{ field, description }],
  });
}

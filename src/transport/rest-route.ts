import { getOption, hasOption, type DescField } from '@bufbuild/protobuf';
import { http } from '@cinema-billing/gen/google/api/annotations_pb.ts';
import { HttpBodySchema } from '@cinema-billing/gen/google/api/httpbody_pb.ts';
import type { Method } from './router.ts';

/** An RPC's google.api.http rule, read once at start. */
export interface RestRoute {
  readonly method: Method;
  readonly httpMethod: string;
  /** What each segment of the path must be, or the field that it fills. */
  readonly segments: readonly (string | DescField)[];
  /** Where the body goes: the whole message, one field, or nowhere. */
  readonly body: 'message' | 'none' | DescField;
}

export interface RouteMatch {
  readonly route: RestRoute;
  /** Decoded values of the fields in the path. */
  readonly pathValues: ReadonlyMap<DescField, string>;
}

/**
 * The route of an RPC, or undefined when it has no rule. Throws for what is not built: patterns inside braces, further
 * bindings, response_body, custom verbs, fields that do not exist.
 */
export function readRestRoute(method: Method): RestRoute | undefined {
  const { desc } = method;
  if (!hasOption(desc, http)) return undefined;
  const rule = getOption(desc, http);
  const { pattern } = rule;
  if (pattern.case === undefined || pattern.case === 'custom') throw unsupported(method, 'no verb');
  if (rule.additionalBindings.length > 0) throw unsupported(method, 'additional_bindings');
  if (rule.responseBody !== '') throw unsupported(method, 'response_body');
  const template = pattern.value;
  if (!/^(\/([\w.~-]+|\{\w+\}))+$/.test(template)) throw unsupported(method, template);
  const segments = template
    .slice(1)
    .split('/')
    .map((segment) => {
      const name = /^\{(.*)\}$/.exec(segment)?.[1];
      return name === undefined ? segment : fieldNamed(method, name);
    });
  if (segments.some((segment) => typeof segment !== 'string' && segment.fieldKind !== 'scalar')) {
    throw unsupported(method, `${template} names a field that is not a scalar`);
  }
  return { method, httpMethod: pattern.case.toUpperCase(), segments, body: readBodyTarget(method, rule.body) };
}

function readBodyTarget(method: Method, body: string): RestRoute['body'] {
  if (body === '') return 'none';
  if (body === '*') return 'message';
  const field = fieldNamed(method, body);
  if (field.fieldKind !== 'message') throw unsupported(method, `body ${body} is not a message`);
  return field;
}

function fieldNamed(method: Method, name: string): DescField {
  const field = method.desc.input.fields.find((candidate) => candidate.name === name);
  if (field === undefined) throw unsupported(method, `no field ${name}`);
  return field;
}

function unsupported(method: Method, what: string): Error {
  return new Error(`${method.name}: its google.api.http rule is not supported: ${what}`);
}

/** The field takes the body's bytes as they are. */
export function takesRawBytes(field: DescField): boolean {
  return field.fieldKind === 'message' && field.message.typeName === HttpBodySchema.typeName;
}

/** All routes of a path, one per verb at most. Throws URIError for a path that cannot be decoded. */
export function matchPath(routes: readonly RestRoute[], path: string): RouteMatch[] {
  const parts = path.slice(1).split('/');
  const matches: RouteMatch[] = [];
  for (const route of routes) {
    const pathValues = route.segments.length === parts.length ? matchSegments(route, parts) : undefined;
    if (pathValues !== undefined) matches.push({ route, pathValues });
  }
  return matches;
}

function matchSegments(route: RestRoute, parts: readonly string[]): Map<DescField, string> | undefined {
  const values = new Map<DescField, string>();
  for (const [position, segment] of route.segments.entries()) {
    const part = parts[position]!;
    if (typeof segment !== 'string') {
      if (part === '') return undefined;
      values.set(segment, part);
    } else if (part !== segment) return undefined;
  }
  for (const [field, value] of values) values.set(field, decodeURIComponent(value));
  return values;
}

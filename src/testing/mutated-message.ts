import {
  create,
  ScalarType,
  toBinary,
  toJson,
  type DescField,
  type DescMessage,
  type Message,
} from '@bufbuild/protobuf';
import { reflect, type ReflectMessage } from '@bufbuild/protobuf/reflect';

/** Numbers of a seeded sequence, so that a run can be had again. */
export interface Dice {
  /** A whole number from 0 up to, not including, `sides`. */
  roll(sides: number): number;
  pick<T>(values: readonly T[]): T;
}

/** Dice that fall the same for the same seed (a 32-bit xorshift over a mixed seed). */
export function createDice(seed: number): Dice {
  let state = Math.imul(seed ^ 0x9e37_79b9, 0x85eb_ca6b) | 1;
  const roll = (sides: number) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % sides;
  };
  return { roll, pick: (values) => values[roll(values.length)]! };
}

/** Values that a field with such a name takes, so that some messages come past the rules: `subscription_id` → ids. */
export type GoodValues = Readonly<Record<string, readonly string[]>>;

const depthMax = 4;
const itemsMax = 3;
const hostileTexts = [
  '',
  ' ',
  'x',
  "' or '1'='1",
  '\u{0}',
  'a\u{0}b',
  '\u{1F3AC}'.repeat(40),
  '\u{202e}\u{feff}',
  '../../etc/passwd',
  'javascript:alert(1)',
  '<script>alert(1)</script>',
  '__proto__',
  'constructor',
  '${7*7}',
  '%s%n',
  '00000000-0000-0000-0000-000000000000',
  'FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF',
  'x'.repeat(256),
  'x'.repeat(20_000),
  'RUB',
  'rub',
  '2027-02-30',
  '99999999999999999999',
  'AAAA',
];
const smallNumbers = [0, 1, -1, 2, 50, 500, 501, 2 ** 31 - 1, -(2 ** 31)];
const largeNumbers = [
  0n,
  1n,
  -1n,
  29_900n,
  2n ** 53n,
  2n ** 63n - 1n,
  -(2n ** 63n),
  253_402_300_800n,
  -62_135_596_801n,
];

/** A message of the type with some fields set to good, to border and to hostile values. */
export function randomMessage(desc: DescMessage, dice: Dice, good: GoodValues, depth = 0): Message {
  const message = create(desc);
  fill(reflect(desc, message), dice, good, depth);
  return message;
}

function fill(target: ReflectMessage, dice: Dice, good: GoodValues, depth: number): void {
  for (const field of target.desc.fields) {
    if (dice.roll(5) === 0) continue;
    switch (field.fieldKind) {
      case 'scalar':
        target.set(field, scalar(field.scalar, field, dice, good));
        break;
      case 'enum':
        target.set(field, dice.pick([...field.enum.values.map((value) => value.number), 77, -1]));
        break;
      case 'message':
        if (depth < depthMax) target.set(field, nested(field.message, dice, good, depth));
        break;
      case 'list': {
        const list = target.get(field);
        for (let item = dice.roll(itemsMax + 1); item > 0; item--) {
          if (field.listKind === 'scalar') list.add(scalar(field.scalar, field, dice, good));
          else if (field.listKind === 'enum')
            list.add(dice.pick([...field.enum.values.map((value) => value.number), 77]));
          else if (depth < depthMax) list.add(nested(field.message, dice, good, depth));
        }
        break;
      }
      case 'map':
        break;
    }
  }
}

function nested(desc: DescMessage, dice: Dice, good: GoodValues, depth: number): ReflectMessage {
  return reflect(desc, randomMessage(desc, dice, good, depth + 1));
}

function scalar(type: ScalarType, field: DescField, dice: Dice, good: GoodValues): unknown {
  switch (type) {
    case ScalarType.STRING: {
      const fitting = good[field.name];
      return fitting !== undefined && dice.roll(3) > 0 ? dice.pick(fitting) : dice.pick(hostileTexts);
    }
    case ScalarType.BYTES:
      return Buffer.from(dice.pick(hostileTexts));
    case ScalarType.BOOL:
      return dice.roll(2) === 0;
    case ScalarType.INT64:
    case ScalarType.SINT64:
    case ScalarType.SFIXED64:
      return dice.pick(largeNumbers);
    case ScalarType.UINT64:
    case ScalarType.FIXED64:
      return dice.pick([0n, 1n, 2n ** 64n - 1n]);
    case ScalarType.UINT32:
    case ScalarType.FIXED32:
      return dice.pick([0, 1, 2 ** 32 - 1]);
    case ScalarType.FLOAT:
    case ScalarType.DOUBLE:
      return dice.pick([0, -1, Number.NaN, Number.POSITIVE_INFINITY, 1e30]);
    default:
      return dice.pick(smallNumbers);
  }
}

/** The message in its binary form, or a damaged form of it. */
export function mutatedBinary(desc: DescMessage, message: Message, dice: Dice): Buffer {
  const bytes = Buffer.from(toBinary(desc, message));
  const at = dice.roll(Math.max(1, bytes.length));
  switch (dice.roll(10)) {
    case 0:
      return bytes.subarray(0, at);
    case 1:
      if (bytes.length > 0) bytes[at]! ^= 1 << dice.roll(8);
      return bytes;
    case 2:
      return Buffer.concat([bytes.subarray(0, at), Buffer.from([dice.roll(256)]), bytes.subarray(at)]);
    case 3:
      return Buffer.concat([bytes, bytes]);
    case 4:
      return Buffer.from(Array.from({ length: dice.roll(64) }, () => dice.roll(256)));
    case 5:
      // Groups within groups, 10,000 deep, and an end of none.
      return dice.pick([
        Buffer.alloc(10_000, 0x0b),
        Buffer.from([0x0c]),
        Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]),
      ]);
    default:
      return bytes;
  }
}

/** The message as JSON text, or a damaged form of it. */
export function mutatedJson(desc: DescMessage, message: Message, dice: Dice): string {
  const text = jsonText(desc, message);
  const at = dice.roll(text.length);
  switch (dice.roll(10)) {
    case 0:
      return text.slice(0, at);
    case 1:
      return text.slice(0, at) + dice.pick(['"', '}', ',', '\\', '\u{0}', '\u{feff}', '1e999']) + text.slice(at);
    case 2:
      return text.replace(
        /:("[^"]*"|[\d.]+)/,
        `:${dice.pick(['null', '[]', '{}', 'true', '-1', '1e400', '"x"', '[[]]'])}`,
      );
    case 3:
      return text
        .replace('{', `{"__proto__":{"role":"admin"},"constructor":1,"unknownField":${text},`)
        .replace(',}', '}');
    case 4:
      return dice.pick([
        '',
        'null',
        '[]',
        '7',
        '"text"',
        '{',
        '{}{}',
        '[',
        `${'['.repeat(100_000)}`,
        '{"a":'.repeat(20_000),
      ]);
    case 5:
      return text.replace(/"/, String.raw`"\ud800`);
    default:
      return text;
  }
}

/** What has no JSON form, such as an instant of the year 300,000, is sent as an empty message. */
function jsonText(desc: DescMessage, message: Message): string {
  try {
    return JSON.stringify(toJson(desc, message));
  } catch {
    return '{}';
  }
}

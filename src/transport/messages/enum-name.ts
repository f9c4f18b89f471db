/** The name of a value of a generated enum, to filter by; undefined for UNSPECIFIED, which asks for all. */
export function enumName<Enum extends Record<string, number>>(
  names: Enum,
  value: number,
): Exclude<keyof Enum, 'UNSPECIFIED'> | undefined {
  if (value === 0) return undefined;
  return Object.keys(names).find((name) => names[name] === value) as Exclude<keyof Enum, 'UNSPECIFIED'> | undefined;
}

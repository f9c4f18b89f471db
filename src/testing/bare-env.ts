/** The environment of a program of ours: these variables and, of this process's own, only where compiled code is kept. */
export function bareEnv(variables: Readonly<Record<string, string>>): Record<string, string> {
  const { NODE_COMPILE_CACHE } = process.env;
  return { ...(NODE_COMPILE_CACHE && { NODE_COMPILE_CACHE }), ...variables };
}

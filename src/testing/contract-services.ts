import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { DescService } from '@bufbuild/protobuf';

const generated = join(import.meta.dirname, '../../gen/billing');

/** Every service of our contracts that has RPCs, from the generated files: a new one is tested without being named. */
export async function contractServices(): Promise<DescService[]> {
  const files = readdirSync(generated, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('_pb.ts'));
  const modules = await Promise.all(
    files.map((file) => import(join(generated, file)) as Promise<Record<string, unknown>>),
  );
  return modules
    .flatMap((exported) => Object.values(exported) as ({ kind?: string } | null)[])
    .filter((value): value is DescService => value?.kind === 'service');
}

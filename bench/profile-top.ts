import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';

interface ProfileNode {
  id: number;
  callFrame: { functionName: string; url: string; lineNumber: number };
}

interface Profile {
  nodes: ProfileNode[];
  samples: number[];
  timeDeltas: number[];
}

const shownMax = 20;

/** Where the processors' time went, by function and without what it called: the top of all profiles in a folder. */
export function profileTop(dir: string): string {
  const selfUs = new Map<string, number>();
  for (const file of readdirSync(dir).filter((name) => name.endsWith('.cpuprofile'))) {
    const { nodes, samples, timeDeltas } = JSON.parse(readFileSync(join(dir, file), 'utf8')) as Profile;
    const names = new Map(nodes.map((node) => [node.id, nameOf(node)]));
    for (const [n, id] of samples.entries()) {
      const name = names.get(id)!;
      if (name === '(idle)') continue;
      selfUs.set(name, (selfUs.get(name) ?? 0) + timeDeltas[n]!);
    }
  }
  const totalUs = selfUs.values().reduce((sum, us) => sum + us, 0);
  return [...selfUs]
    .sort(([, a], [, b]) => b - a)
    .slice(0, shownMax)
    .map(([name, us]) => `  ${((100 * us) / totalUs).toFixed(1).padStart(5)} %  ${name}`)
    .join('\n');
}

function nameOf({ callFrame: { functionName, url, lineNumber } }: ProfileNode): string {
  const name = functionName || '(anonymous)';
  return url === '' ? name : `${name}  ${basename(url)}:${lineNumber + 1}`;
}

import { createServer, type AddressInfo } from 'node:net';
import { once } from 'node:events';
import { LocalError } from './local-error.ts';

const host = '127.0.0.1';

/** A port of 127.0.0.1 that is free now. Between this answer and its use somebody else may take it. */
export async function freePort(): Promise<number> {
  return (await tryPort(0))!;
}

/** The preferred port where it is still free, otherwise any free one. */
export async function freePortLike(preferred: number | undefined): Promise<number> {
  return (preferred && (await tryPort(preferred))) || freePort();
}

/** Throws a LocalError that names the variable when the port is taken; 0 is always free. */
export async function requireFreePort(port: number, variable: string): Promise<void> {
  if (port !== 0 && (await tryPort(port)) === undefined) {
    throw new LocalError(`port ${port} is in use: set ${variable} to another one, or to 0 for any free one`);
  }
}

async function tryPort(port: number): Promise<number | undefined> {
  const server = createServer();
  try {
    server.listen(port, host);
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EADDRINUSE') return undefined;
    if (code === 'EACCES') throw new LocalError(`port ${port} may be used by an administrator only`, { cause: error });
    throw error;
  } finally {
    server.close();
  }
}

import { createPublicKey, type KeyObject } from 'node:crypto';

/** The public keys that Auth signs with. */
export interface TokenKeys {
  /** Grows with every change of the keys: what was verified before has to be verified again. */
  readonly generation: number;
  /** The key for a token whose header names `kid`; undefined when there is none. */
  find(kid: unknown): Promise<KeyObject | undefined>;
  /** Ends what runs in the background. */
  stop(): void;
}

const keyBitsMin = 2048;

/**
 * One key for good, from PEM; what a token says of its key is not looked at. Throws when it is not an RSA public key
 * of at least 2048 bits.
 */
export function fixedKey(pem: string): TokenKeys {
  const key = readPem(pem);
  return { generation: 0, find: async () => key, stop: () => undefined };
}

function readPem(pem: string): KeyObject {
  let key: KeyObject;
  try {
    if (!pem.includes('PUBLIC KEY')) throw new Error('not a public key in PEM form');
    key = createPublicKey(pem);
  } catch (cause) {
    throw new Error('the token key cannot be read: an RSA public key in PEM form is needed', { cause });
  }
  return checkKey(key);
}

/** Returns the key. Throws when it is not RSA with at least 2048 bits. */
export function checkKey(key: KeyObject): KeyObject {
  const bits = key.asymmetricKeyDetails?.modulusLength ?? 0;
  if (key.asymmetricKeyType !== 'rsa' || bits < keyBitsMin) {
    throw new Error(`the token key must be RSA with at least ${keyBitsMin} bits`);
  }
  return key;
}

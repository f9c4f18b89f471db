import { generateKeyPairSync, sign } from 'node:crypto';

export interface SelfSigned {
  certificatePem: string;
  keyPem: string;
}

// Tags of DER (X.690).
const [integer, bitString, octetString, nothing, objectId, utf8, sequence, set, utcTime] = [
  2, 3, 4, 5, 6, 12, 0x30, 0x31, 23,
];
const sha256WithRsa = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
const commonName = [0x55, 0x04, 0x03];
const subjectAltName = [0x55, 0x1d, 0x11];
const hourMs = 3_600_000;

/** A certificate for `localhost` and 127.0.0.1, good for an hour, with its key: written byte by byte (RFC 5280). */
export function createSelfSigned(): SelfSigned {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const algorithm = der(sequence, der(objectId, sha256WithRsa), der(nothing));
  const name = der(sequence, der(set, der(sequence, der(objectId, commonName), der(utf8, 'localhost'))));
  const names = der(sequence, der(0x82, 'localhost'), der(0x87, [127, 0, 0, 1]));
  const extension = der(sequence, der(objectId, subjectAltName), der(octetString, names));
  const toBeSigned = der(
    sequence,
    der(0xa0, der(integer, [2])),
    der(integer, [1]),
    algorithm,
    name,
    der(sequence, der(utcTime, utc(-hourMs)), der(utcTime, utc(hourMs))),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, der(sequence, extension)),
  );
  const signature = sign('sha256', toBeSigned, privateKey);
  const certificate = der(sequence, toBeSigned, algorithm, der(bitString, [0], signature));
  const lines = certificate.toString('base64').replaceAll(/.{64}/g, '$&\n');
  return {
    certificatePem: `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`,
    keyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
}

function der(tag: number, ...parts: (string | number[] | Buffer)[]): Buffer {
  const content = Buffer.concat(parts.map((part) => Buffer.from(part as Buffer)));
  const { length } = content;
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}

/** YYMMDDhhmmssZ */
function utc(offsetMs: number): string {
  const digits = new Date(Date.now() + offsetMs).toISOString().replaceAll(/[-:T]/g, '');
  return `${digits.slice(2, 14)}Z`;
}

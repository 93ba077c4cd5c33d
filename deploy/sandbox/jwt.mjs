// Reads and checks JSON Web Tokens in compact form.

import { verify } from 'node:crypto';

import { isObject, parseJson } from './http_messages.mjs';

const FORM = /^([\w-]+)\.([\w-]+)\.([\w-]+)$/;

const ALGORITHMS = {
  // JOSE has the two numbers of a signature side by side, OpenSSL in DER.
  ES256: (key) => ['sha256', { key, dsaEncoding: 'ieee-p1363' }],
  RS256: (key) => ['sha256', key],
};

// {header, claims} if the signature is right, else undefined.
export function verifiedJwt(token, algorithm, publicKey) {
  const parts = FORM.exec(token);
  if (parts === null) return undefined;
  const [header, claims] = [parts[1], parts[2]].map((part) => parseJson(Buffer.from(part, 'base64url')));
  if (!isObject(header) || !isObject(claims) || header.alg !== algorithm) return undefined;
  const [digest, key] = ALGORITHMS[algorithm](publicKey);
  const genuine = verify(digest, Buffer.from(`${parts[1]}.${parts[2]}`), key, Buffer.from(parts[3], 'base64url'));
  return genuine ? { header, claims } : undefined;
}

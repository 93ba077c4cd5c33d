// A receiver of webhooks. With a secret it verifies the signatures of Standard Webhooks;
// without one whoever reads the inbox may do that.

import { createHmac, timingSafeEqual } from 'node:crypto';

import { packHeaders, parseJson, textReply } from './http_messages.mjs';
import { shortDigest } from './inbox.mjs';

const PREFIX = '/webhook/';
const TOLERANCE_SECONDS = 300;

export class Webhook {
  name = 'webhook';
  #inbox;
  #secret;

  // `secret`: whsec_ and base64, or undefined.
  constructor(inbox, secret) {
    this.#inbox = inbox;
    if (secret === undefined) return;
    if (!/^whsec_[A-Za-z0-9+/]+=*$/.test(secret)) throw new RangeError('a webhook secret is whsec_ and base64');
    this.#secret = Buffer.from(secret.slice('whsec_'.length), 'base64');
  }

  serves(method, path) {
    return path.startsWith(PREFIX);
  }

  check(request) {
    if (request.method !== 'POST') return { refusal: textReply(405, 'only POST\n', { allow: 'POST' }) };
    const fault = this.#secret === undefined ? undefined : faultOfSignature(this.#secret, request);
    if (fault !== undefined) return { refusal: textReply(401, `${fault}\n`) };
    return { text: request.path, accept: () => this.#accept(request) };
  }

  failure = ({ status = 500, reason }) => textReply(status, reason ?? '');

  describe(message) {
    const body = parseJson(message.raw);
    return { subject: body?.type, body };
  }

  #accept(request) {
    const id = request.headers['webhook-id'] ?? shortDigest(request.body);
    this.#inbox.add(this.name, {
      id,
      to: [request.path],
      key: `${request.path} ${id}`,
      raw: request.body,
      headers: packHeaders(request.rawHeaders),
      connection: request.connection,
    });
    return textReply(200);
  }
}

// Why it isn't genuine; undefined if it is.
function faultOfSignature(secret, { headers, body }) {
  const [id, timestamp, signatures] = ['id', 'timestamp', 'signature'].map((name) => headers[`webhook-${name}`]);
  if (!id || !timestamp || !signatures) return 'a header of Standard Webhooks is missing';
  if (!/^\d+$/.test(timestamp)) return 'webhook-timestamp is not in seconds';
  if (Math.abs(Date.now() / 1000 - Number(timestamp)) > TOLERANCE_SECONDS)
    return 'webhook-timestamp is too far from now';
  const expected = createHmac('sha256', secret).update(`${id}.${timestamp}.`).update(body).digest();
  const genuine = signatures.split(' ').some((signature) => {
    const [version, value] = signature.split(',');
    const given = Buffer.from(value ?? '', 'base64');
    return version === 'v1' && given.length === expected.length && timingSafeEqual(given, expected);
  });
  return genuine ? undefined : 'no signature is right';
}

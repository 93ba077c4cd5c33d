// APNs: HTTP/2 over TLS only, with provider tokens.

import { randomUUID } from 'node:crypto';
import http2 from 'node:http2';

import { isObject, packHeaders, parseJson, scriptedReply } from './http_messages.mjs';
import { shortDigest } from './inbox.mjs';
import { verifiedJwt } from './jwt.mjs';
import { perform } from './scripts.mjs';

export const TEAM_ID = 'SANDBOXTID';
export const KEY_ID = 'SANDBOXKID';

const TOKEN_SECONDS = 3600;
const SKEW_SECONDS = 300;
const UPDATE_WINDOW_SECONDS = 1200;
// As many as APNs allows on a connection.
const STREAMS = 1000;
const PAYLOAD_BYTES = 4096;
const VOIP_PAYLOAD_BYTES = 5120;
const COLLAPSE_ID_BYTES = 64;
// A verified token is good for thousands of requests; checking its signature costs 100 µs.
const CACHED_TOKENS = 1000;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const PUSH_TYPES = [
  'alert', 'background', 'voip', 'location', 'complication', 'fileprovider', 'mdm', 'liveactivity', 'controls',
  'pushtotalk', 'widgets',
];

const STATUS_OF_REASON = {
  BadPath: 404,
  MethodNotAllowed: 405,
  ExpiredToken: 410,
  Unregistered: 410,
  PayloadTooLarge: 413,
  BadCertificate: 403,
  BadCertificateEnvironment: 403,
  ExpiredProviderToken: 403,
  Forbidden: 403,
  InvalidProviderToken: 403,
  MissingProviderToken: 403,
  TooManyProviderTokenUpdates: 429,
  TooManyRequests: 429,
  InternalServerError: 500,
  ServiceUnavailable: 503,
  Shutdown: 503,
};
const REASON_OF_STATUS = {
  400: 'BadDeviceToken',
  403: 'InvalidProviderToken',
  404: 'BadPath',
  405: 'MethodNotAllowed',
  410: 'Unregistered',
  413: 'PayloadTooLarge',
  429: 'TooManyRequests',
  503: 'ServiceUnavailable',
};

export class Apns {
  name = 'apns';
  server;
  #inbox;
  #scripts;
  #publicKey;
  #sessions = new Set();
  #connections = 0;
  #verified = new Map();
  // When each token of our key was first seen, in seconds.
  #tokenUpdates = new Map();

  constructor(inbox, scripts, identity) {
    this.#inbox = inbox;
    this.#scripts = scripts;
    this.#publicKey = identity.apnsPublicKey;
    this.server = http2.createSecureServer({
      cert: identity.certificate,
      key: identity.certificateKey,
      allowHTTP1: false,
      settings: { maxConcurrentStreams: STREAMS },
    });
    this.server.on('unknownProtocol', (socket) => socket.destroy());
    this.server.on('session', (session) => this.#welcome(session));
    this.server.on('stream', (stream, headers, _flags, rawHeaders) => this.#serve(stream, headers, rawHeaders));
  }

  disconnectAll() {
    for (const session of this.#sessions) session.destroy();
  }

  describe(message) {
    const body = parseJson(message.raw);
    const alert = body.aps?.alert;
    return { subject: alert?.title, text: typeof alert === 'string' ? alert : alert?.body, topic: message.topic, body };
  }

  #welcome(session) {
    session.connectionNumber = ++this.#connections;
    this.#sessions.add(session);
    session.on('close', () => this.#sessions.delete(session));
    session.on('error', () => {});
  }

  #serve(stream, headers, rawHeaders) {
    const { session } = stream;
    const chunks = [];
    let size = 0;
    stream.on('error', () => {});
    stream.on('data', (chunk) => {
      size += chunk.length;
      if (size <= VOIP_PAYLOAD_BYTES + 1) chunks.push(chunk);
    });
    stream.on('end', () => {
      const id = headers['apns-id'] ?? randomUUID().toUpperCase();
      const answer = (reply) => respond(stream, id, reply);
      const reason = this.#faultOfToken(headers) ?? faultOf(headers, chunks, size);
      if (reason !== undefined) {
        answer(failure({ reason }));
        return;
      }
      const token = headers[':path'].slice('/3/device/'.length);
      const body = chunks.length === 1 ? chunks[0] : Buffer.concat(chunks);
      perform(this.#scripts.next(this.name, token), {
        accept: () => this.#accept({ id, token, body, headers, rawHeaders, connection: session.connectionNumber }),
        failure: (rule) => scriptedReply(rule, failure),
        answer,
        drop: () => session.destroy(),
      });
    });
  }

  #accept({ id, token, body, headers, rawHeaders, connection }) {
    const identity = headers['apns-collapse-id'] ?? headers['apns-id'] ?? '';
    this.#inbox.add(this.name, {
      id,
      to: [token],
      key: `${token} ${identity} ${shortDigest(body)}`,
      topic: headers['apns-topic'],
      raw: body,
      headers: packHeaders(rawHeaders),
      connection,
    });
    return { status: 200, headers: {}, body: '' };
  }

  // The reason to refuse the provider token, or undefined.
  #faultOfToken(headers) {
    const token = /^bearer +(\S+)$/i.exec(headers.authorization ?? '')?.[1];
    if (token === undefined) return 'MissingProviderToken';
    const jwt = this.#verify(token);
    if (jwt === undefined) return 'InvalidProviderToken';
    const age = Date.now() / 1000 - jwt.claims.iat;
    if (age > TOKEN_SECONDS) return 'ExpiredProviderToken';
    if (age < -SKEW_SECONDS) return 'InvalidProviderToken';
    return this.#isUpdatedTooOften(token) ? 'TooManyProviderTokenUpdates' : undefined;
  }

  #verify(token) {
    const known = this.#verified.get(token);
    if (known !== undefined) return known;
    const jwt = verifiedJwt(token, 'ES256', this.#publicKey);
    const ours =
      jwt !== undefined && jwt.header.kid === KEY_ID && jwt.claims.iss === TEAM_ID && Number.isInteger(jwt.claims.iat);
    if (!ours) return undefined;
    if (this.#verified.size >= CACHED_TOKENS) this.#verified.clear();
    this.#verified.set(token, jwt);
    return jwt;
  }

  #isUpdatedTooOften(token) {
    if (this.#tokenUpdates.has(token)) return false;
    const now = Date.now() / 1000;
    for (const [other, seen] of this.#tokenUpdates) {
      if (now - seen > UPDATE_WINDOW_SECONDS) this.#tokenUpdates.delete(other);
    }
    const limit = this.#scripts.policy(this.name, 'token_limit')?.limit;
    if (limit !== undefined && this.#tokenUpdates.size >= limit) return true;
    this.#tokenUpdates.set(token, now);
    return false;
  }
}

// The reason to refuse everything else, in the order in which APNs looks; undefined if all is well.
function faultOf(headers, chunks, size) {
  const path = headers[':path'];
  if (headers[':method'] !== 'POST') return 'MethodNotAllowed';
  if (path === '/3/device' || path === '/3/device/') return 'MissingDeviceToken';
  if (!path.startsWith('/3/device/')) return 'BadPath';
  if (!/^[0-9a-f]{64}$/i.test(path.slice('/3/device/'.length))) return 'BadDeviceToken';
  return faultOfHeaders(headers) ?? faultOfPayload(headers, chunks, size);
}

function faultOfHeaders(headers) {
  const has = (name, test) => headers[`apns-${name}`] === undefined || test(headers[`apns-${name}`]);
  if (!headers['apns-topic']) return 'MissingTopic';
  if (!has('id', (id) => UUID.test(id))) return 'BadMessageId';
  if (!has('expiration', (time) => /^\d+$/.test(time))) return 'BadExpirationDate';
  if (!has('priority', (priority) => ['1', '5', '10'].includes(priority))) return 'BadPriority';
  if (!has('collapse-id', (id) => Buffer.byteLength(id) <= COLLAPSE_ID_BYTES)) return 'BadCollapseId';
  if (!has('push-type', (type) => PUSH_TYPES.includes(type))) return 'InvalidPushType';
  return undefined;
}

function faultOfPayload(headers, chunks, size) {
  if (size > (headers['apns-push-type'] === 'voip' ? VOIP_PAYLOAD_BYTES : PAYLOAD_BYTES)) return 'PayloadTooLarge';
  // What is no object can hold no notification.
  return isObject(parseJson(Buffer.concat(chunks))) ? undefined : 'PayloadEmpty';
}

function failure({ status, reason = REASON_OF_STATUS[status] ?? 'InternalServerError', timestamp = Date.now() }) {
  const code = status ?? STATUS_OF_REASON[reason] ?? 400;
  return { status: code, headers: {}, body: JSON.stringify(code === 410 ? { reason, timestamp } : { reason }) };
}

function respond(stream, id, { status, headers, body }) {
  if (stream.destroyed) return;
  stream.respond({
    ':status': status,
    'apns-id': id,
    ...headers,
    ...(body ? { 'content-type': 'application/json' } : {}),
  });
  stream.end(body);
}

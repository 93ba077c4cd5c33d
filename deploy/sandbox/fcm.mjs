// FCM's HTTP v1 API.

import { randomBytes } from 'node:crypto';

import { bearerToken, hasJson, isObject, jsonReply, packHeaders, parseJson } from './http_messages.mjs';
import { PROJECT } from './identity.mjs';
import { shortDigest } from './inbox.mjs';

const PAYLOAD_BYTES = 4096;
const FCM_ERROR = 'type.googleapis.com/google.firebase.fcm.v1.FcmError';
const BAD_REQUEST = 'type.googleapis.com/google.rpc.BadRequest';
const QUOTA_FAILURE = 'type.googleapis.com/google.rpc.QuotaFailure';
const MESSAGE_FIELDS = [
  'name', 'data', 'notification', 'android', 'webpush', 'apns', 'fcm_options', 'token', 'topic', 'condition',
];
const NOTIFICATION_FIELDS = ['title', 'body', 'image'];
const TARGETS = ['token', 'topic', 'condition'];
const SEND = '/messages:send';

const NO_ACCESS_TOKEN =
  'Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid ' +
  'authentication credential.';

// code: [HTTP status, google.rpc status, message].
const ERRORS = {
  INVALID_ARGUMENT: [400, 'INVALID_ARGUMENT', 'The registration token is not a valid FCM registration token'],
  UNAUTHENTICATED: [401, 'UNAUTHENTICATED', NO_ACCESS_TOKEN],
  THIRD_PARTY_AUTH_ERROR: [401, 'UNAUTHENTICATED', 'Auth error from APNS or Web Push Service'],
  SENDER_ID_MISMATCH: [403, 'PERMISSION_DENIED', 'SenderId mismatch'],
  UNREGISTERED: [404, 'NOT_FOUND', 'Requested entity was not found.'],
  QUOTA_EXCEEDED: [429, 'RESOURCE_EXHAUSTED', 'Quota exceeded.'],
  INTERNAL: [500, 'INTERNAL', 'Internal error encountered.'],
  UNAVAILABLE: [503, 'UNAVAILABLE', 'The service is currently unavailable.'],
};

export class Fcm {
  name = 'fcm';
  #inbox;
  #tokens;

  constructor(inbox, tokens) {
    this.#inbox = inbox;
    this.#tokens = tokens;
  }

  serves(method, path) {
    return method === 'POST' && path.startsWith('/v1/projects/') && path.endsWith(SEND);
  }

  check(request) {
    if (!this.#tokens.isGood(bearerToken(request))) return { refusal: googleError('UNAUTHENTICATED') };
    if (request.path !== `/v1/projects/${PROJECT}${SEND}`) return { refusal: noPermission(request.path) };
    const body = hasJson(request) ? parseJson(request.body) : undefined;
    const refusal = refusalOf(body);
    if (refusal !== undefined) return { refusal };
    return { text: targetOf(body.message), accept: () => this.#accept(request, body) };
  }

  failure = ({ code, status, reason }) => googleError(code ?? codeOfStatus(status), reason, status);

  describe(message) {
    const body = parseJson(message.raw);
    return { subject: body.message.notification?.title, text: body.message.notification?.body, body };
  }

  #accept(request, body) {
    const target = targetOf(body.message);
    const name = `projects/${PROJECT}/messages/${randomBytes(12).toString('hex')}`;
    if (body.validate_only === true) return jsonReply(200, { name: `projects/${PROJECT}/messages/fake_message_id` });
    this.#inbox.add(this.name, {
      id: name,
      to: [target],
      key: `${target} ${shortDigest(JSON.stringify(body.message))}`,
      raw: request.body,
      headers: packHeaders(request.rawHeaders),
      connection: request.connection,
    });
    return jsonReply(200, { name });
  }
}

function noPermission(path) {
  const resource = `//cloudresourcemanager.googleapis.com${path.slice('/v1'.length, -SEND.length)}`;
  const permission = `Permission 'cloudmessaging.messages.create' denied on resource '${resource}'`;
  return googleError('SENDER_ID_MISMATCH', `${permission} (or it may not exist).`, 403, []);
}

function targetOf(message) {
  return message.token ?? message.topic ?? message.condition;
}

function refusalOf(body) {
  if (!isObject(body)) return googleError('INVALID_ARGUMENT', 'Invalid JSON payload received.', 400, []);
  const { message } = body;
  const violations = isObject(message) ? violationsOf(body, message) : [['message', 'Message is required.']];
  if (violations.length > 0) {
    return googleError('INVALID_ARGUMENT', violations[0][1], 400, [
      { '@type': BAD_REQUEST, fieldViolations: violations.map(([field, description]) => ({ field, description })) },
    ]);
  }
  const targets = TARGETS.filter((name) => message[name] !== undefined);
  if (targets.length !== 1) return googleError('INVALID_ARGUMENT', `Exactly one of ${TARGETS.join(', ')} is required.`);
  if (!/^[\w:.~%/-]+$/.test(message[targets[0]]) && targets[0] !== 'condition') return googleError('INVALID_ARGUMENT');
  const payload = JSON.stringify([message.notification ?? {}, message.data ?? {}]);
  if (Buffer.byteLength(payload) > PAYLOAD_BYTES) return googleError('INVALID_ARGUMENT', 'Message is too big');
  return undefined;
}

// [field, description] of what is not of the form of a request.
function violationsOf(body, message) {
  const noText = (field, value) => [field, `Invalid value at '${field}' (TYPE_STRING), ${JSON.stringify(value)}`];
  return [
    ...unknownFields(body, ['message', 'validate_only'], ''),
    ...unknownFields(message, MESSAGE_FIELDS, 'message'),
    ...unknownFields(message.notification ?? {}, NOTIFICATION_FIELDS, 'message.notification'),
    ...TARGETS.filter((name) => !['string', 'undefined'].includes(typeof message[name])).map((name) =>
      noText(`message.${name}`, message[name]),
    ),
    ...Object.values(message.data ?? {}).flatMap((value, index) =>
      typeof value === 'string' ? [] : [noText(`message.data[${index}].value`, value)],
    ),
  ];
}

function unknownFields(value, known, where) {
  const place = where === '' ? '' : ` at '${where}'`;
  const unknown = Object.keys(value).filter((name) => !known.includes(name) && !known.includes(snakeCase(name)));
  return unknown.map((name) => [
    where,
    `Invalid JSON payload received. Unknown name "${name}"${place}: Cannot find field.`,
  ]);
}

// Protobuf's JSON form has names in both cases.
function snakeCase(name) {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function codeOfStatus(status = 500) {
  return Object.keys(ERRORS).find((code) => ERRORS[code][0] === status) ?? 'INTERNAL';
}

function googleError(
  code,
  message = ERRORS[code]?.[2] ?? 'Error',
  status = ERRORS[code]?.[0] ?? 500,
  details = detailsOf(code),
) {
  return jsonReply(status, { error: { code: status, message, status: ERRORS[code]?.[1] ?? 'UNKNOWN', details } });
}

function detailsOf(code) {
  if (code === 'UNAUTHENTICATED') return [];
  const fcmError = { '@type': FCM_ERROR, errorCode: code };
  if (code !== 'QUOTA_EXCEEDED') return [fcmError];
  return [
    fcmError,
    { '@type': QUOTA_FAILURE, violations: [{ subject: `projects/${PROJECT}`, description: 'Message rate exceeded.' }] },
  ];
}

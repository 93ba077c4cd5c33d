// Requests and replies of the HTTP providers as plain values.

const FORM = 'application/x-www-form-urlencoded';
const JSON_TYPE = 'application/json';

// {method, path, query, headers, rawHeaders, body: Buffer, connection}: what check() of a provider gets.
export function requestOf(message, body, connection) {
  const mark = message.url.indexOf('?');
  return {
    method: message.method,
    path: mark < 0 ? message.url : message.url.slice(0, mark),
    query: mark < 0 ? '' : message.url.slice(mark + 1),
    headers: message.headers,
    rawHeaders: message.rawHeaders,
    body,
    connection,
  };
}

export function hasJson(request) {
  return mediaType(request) === JSON_TYPE;
}

export function hasForm(request) {
  return mediaType(request) === FORM;
}

function mediaType(request) {
  return (request.headers['content-type'] ?? '').split(';')[0].trim().toLowerCase();
}

// undefined if it isn't JSON.
export function parseJson(buffer) {
  try {
    return JSON.parse(buffer.toString());
  } catch {
    return undefined;
  }
}

export function isObject(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function parseForm(buffer) {
  return Object.fromEntries(new URLSearchParams(buffer.toString()));
}

// 'user:password' of Basic authentication, else undefined.
export function basicCredentials(request) {
  const match = /^basic +(\S+)$/i.exec(request.headers.authorization ?? '');
  return match ? Buffer.from(match[1], 'base64').toString() : undefined;
}

export function bearerToken(request) {
  return /^bearer +(\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
}

export function jsonReply(status, value, headers = {}) {
  return { status, headers: { 'content-type': JSON_TYPE, ...headers }, body: JSON.stringify(value) };
}

export function textReply(status, body = '', headers = {}) {
  return { status, headers: body === '' ? headers : { 'content-type': 'text/plain', ...headers }, body };
}

// The reply of a provider to a rule of mode error: in the provider's own form, unless the rule
// brings a body.
export function scriptedReply(rule, inFormOfProvider) {
  const reply = rule.body === undefined ? inFormOfProvider(rule) : bodyReply(rule);
  if (rule.retry_after !== undefined) reply.headers['retry-after'] = String(rule.retry_after);
  return reply;
}

function bodyReply({ status = 500, body }) {
  return typeof body === 'string' ? textReply(status, body) : jsonReply(status, body);
}

// Headers as one text: a third of the memory of an array, and most are never looked at.
export function packHeaders(rawHeaders) {
  return rawHeaders.join('\n');
}

// {lower-case name: value}; repeated ones are joined.
export function unpackHeaders(packed) {
  const headers = {};
  const parts = packed.split('\n');
  for (let index = 0; index + 1 < parts.length; index += 2) {
    const name = parts[index].toLowerCase();
    headers[name] = headers[name] === undefined ? parts[index + 1] : `${headers[name]}, ${parts[index + 1]}`;
  }
  return headers;
}

// Vonage's SMS API. It answers 200 to nearly everything; the status of each part says more.

import { randomUUID } from 'node:crypto';

import { CALLBACK_DELAY, isHttpUrl } from './callbacks.mjs';
import { hasJson, isObject, jsonReply, packHeaders, parseForm, parseJson, textReply } from './http_messages.mjs';
import { shortDigest } from './inbox.mjs';
import { isGsm, segmentCount } from './segments.mjs';

export const API_KEY = 'sandbox';
export const API_SECRET = 'sandbox-secret';
const NUMBER = /^[1-9]\d{6,14}$/;
const REQUIRED = ['api_key', 'api_secret', 'from', 'to', 'text'];
const TEXT_CHARACTERS = 3200;

const ERROR_TEXTS = {
  1: 'Throughput Rate Exceeded - please wait [ 250 ] and retry',
  2: 'Missing parameter',
  3: 'Invalid value for parameter',
  4: 'Bad Credentials',
  5: 'Internal Error',
  6: 'Unroutable message - rejected',
  7: 'Number barred',
  8: 'Partner account barred',
  9: 'Quota Exceeded - rejected',
  11: 'Account not enabled for HTTP',
  12: 'Message too long - rejected',
  15: 'Illegal Sender Address - rejected',
  22: 'Invalid Network Code',
  29: 'Non-Whitelisted Destination',
};

export class Vonage {
  name = 'vonage';
  #inbox;
  #scripts;
  #callbacks;

  constructor(inbox, scripts, callbacks) {
    this.#inbox = inbox;
    this.#scripts = scripts;
    this.#callbacks = callbacks;
  }

  serves(method, path) {
    return method === 'POST' && path === '/sms/json';
  }

  check(request) {
    const body = bodyOf(request);
    const fault = faultOf(body);
    if (fault !== undefined) return { refusal: error(...fault) };
    return { text: String(body.to), accept: () => this.#accept(request, body) };
  }

  failure = ({ code, status, reason }) => {
    if (code === undefined && status !== undefined) return textReply(status, reason ?? 'Service error\n');
    const number = String(code ?? 5);
    return { ...error(number, reason ?? ERROR_TEXTS[number]), status: status ?? 200 };
  };

  describe(message) {
    const body = bodyOf({ body: message.raw, headers: { 'content-type': message.contentType } });
    return { from: body.from, text: arrivingText(body), client_ref: body['client-ref'], body, parts: message.parts };
  }

  #accept(request, body) {
    const parts = Array.from({ length: segmentCount(String(body.text)) }, () => randomUUID());
    const to = String(body.to);
    const reference = body['client-ref'];
    this.#inbox.add(this.name, {
      id: parts[0],
      parts,
      to: [to],
      key: `${to} ${reference ?? shortDigest(String(body.text))}`,
      raw: request.body,
      contentType: request.headers['content-type'],
      headers: packHeaders(request.rawHeaders),
      connection: request.connection,
    });
    if (body.callback !== undefined) this.#tell(parts, body);
    return jsonReply(200, {
      'message-count': String(parts.length),
      messages: parts.map((part) => ({
        to,
        'message-id': part,
        status: '0',
        'remaining-balance': '100.00000000',
        'message-price': '0.03330000',
        network: '26201',
        ...(reference === undefined ? {} : { 'client-ref': reference }),
      })),
    });
  }

  // A receipt for each part, as the carriers send them.
  #tell(parts, body) {
    const rule = this.#scripts.policy(this.name, 'callback', String(body.to));
    const status = rule?.status ?? 'delivered';
    if (status === 'off') return;
    const code = String(rule?.error_code ?? (status === 'delivered' ? 0 : 1));
    for (const part of parts) {
      this.#callbacks.post(rule?.delay_ms ?? CALLBACK_DELAY, () => receiptOf(part, body, status, code));
    }
  }
}

function bodyOf(request) {
  const body = hasJson(request) ? parseJson(request.body) : parseForm(request.body);
  return isObject(body) ? body : {};
}

// What the phone shows: type text can carry the GSM alphabet only.
function arrivingText(body) {
  const text = String(body.text);
  return body.type === 'unicode' ? text : [...text].map((character) => (isGsm(character) ? character : '?')).join('');
}

// [status, text] or undefined.
function faultOf(body) {
  const missing = REQUIRED.find((name) => body[name] === undefined || body[name] === '');
  if (missing !== undefined) return ['2', `Missing ${missing}`];
  if (body.api_key !== API_KEY || body.api_secret !== API_SECRET) return ['4', ERROR_TEXTS[4]];
  if (!NUMBER.test(String(body.to))) return ['3', 'Invalid value for param: to'];
  if (body.type !== undefined && !['text', 'unicode'].includes(body.type))
    return ['3', 'Invalid value for param: type'];
  if (body.callback !== undefined && !isHttpUrl(body.callback)) return ['3', 'Invalid value for param: callback'];
  if (String(body['client-ref'] ?? '').length > 100) return ['3', 'Invalid value for param: client-ref'];
  if (String(body.text).length > TEXT_CHARACTERS) return ['12', ERROR_TEXTS[12]];
  return undefined;
}

function error(status, text = 'Error') {
  return jsonReply(200, { 'message-count': '1', messages: [{ status, 'error-text': text }] });
}

function receiptOf(part, body, status, code) {
  const now = new Date().toISOString();
  return {
    url: body.callback,
    headers: { 'content-type': 'application/json' },
    // `to` is who sent the message, `msisdn` whom it went to.
    body: JSON.stringify({
      msisdn: String(body.to),
      to: String(body.from),
      'network-code': '26201',
      messageId: part,
      price: '0.03330000',
      status,
      scts: now.replace(/\D/g, '').slice(2, 12),
      'err-code': code,
      'api-key': API_KEY,
      ...(body['client-ref'] === undefined ? {} : { 'client-ref': body['client-ref'] }),
      'message-timestamp': now.slice(0, 19).replace('T', ' '),
    }),
  };
}

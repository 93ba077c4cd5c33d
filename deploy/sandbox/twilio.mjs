// Twilio's Messages: creating one, its status callbacks, and the list.

import { createHmac, randomBytes } from 'node:crypto';

import { CALLBACK_DELAY, isHttpUrl } from './callbacks.mjs';
import { basicCredentials, hasForm, jsonReply, packHeaders, parseForm } from './http_messages.mjs';
import { shortDigest } from './inbox.mjs';
import { segmentCount } from './segments.mjs';

export const ACCOUNT = 'ACsandbox';
export const TOKEN = 'sandbox-token';
const PATH = /^\/2010-04-01\/Accounts\/([^/]+)\/Messages\.json$/;
const NUMBER = /^\+[1-9]\d{6,14}$/;
const BODY_CHARACTERS = 1600;

// code: [HTTP status, message].
const ERRORS = {
  20003: [401, 'Authenticate'],
  20404: [404, 'The requested resource was not found'],
  20429: [429, 'Too Many Requests'],
  20500: [500, 'Internal Server Error'],
  20503: [503, 'Service Unavailable'],
  21211: [400, "The 'To' number is not a valid phone number."],
  21408: [400, "Permission to send an SMS has not been enabled for the region indicated by the 'To' number."],
  21606: [400, "The 'From' phone number is not a valid, SMS-capable inbound phone number."],
  21608: [400, 'The number is unverified. Trial accounts cannot send messages to unverified numbers.'],
  21609: [400, 'The StatusCallback URL is not a valid URL.'],
  21610: [400, 'Attempt to send to unsubscribed recipient'],
  21612: [400, "The 'To' phone number is not currently reachable using the 'From' phone number."],
  21614: [400, "The 'To' number is not a valid mobile number."],
};
const CODE_OF_STATUS = { 401: 20003, 404: 20404, 429: 20429, 503: 20503 };

export class Twilio {
  name = 'twilio';
  #inbox;
  #scripts;
  #callbacks;

  constructor(inbox, scripts, callbacks) {
    this.#inbox = inbox;
    this.#scripts = scripts;
    this.#callbacks = callbacks;
  }

  serves(method, path) {
    return method === 'POST' && PATH.test(path);
  }

  check(request) {
    const refusal = refusalOfCaller(request);
    if (refusal !== undefined) return { refusal };
    const form = hasForm(request) ? parseForm(request.body) : {};
    const fault = faultOf(form);
    if (fault !== undefined) return { refusal: error(...fault) };
    return { text: form.To, accept: () => this.#accept(request, form) };
  }

  failure = scriptedError;

  describe(message) {
    const body = parseForm(message.raw);
    return { from: message.from, text: body.Body, body, status: message.status, error_code: message.errorCode };
  }

  #accept(request, form) {
    const message = this.#inbox.add(this.name, {
      id: `SM${randomBytes(16).toString('hex')}`,
      to: [form.To],
      from: form.From ?? form.MessagingServiceSid,
      key: `${form.To} ${shortDigest(form.Body, form.StatusCallback ?? '')}`,
      raw: request.body,
      headers: packHeaders(request.rawHeaders),
      connection: request.connection,
      status: 'queued',
      errorCode: null,
    });
    const reply = jsonReply(201, resource(message, form));
    this.#tell(message, form);
    return reply;
  }

  // The status moves on in any case; it is told if the sender has asked for it.
  async #tell(message, form) {
    const rule = this.#scripts.policy(this.name, 'callback', form.To);
    const told = form.StatusCallback !== undefined && rule?.status !== 'off';
    const last = [undefined, 'off'].includes(rule?.status) ? 'delivered' : rule.status;
    for (const status of last === 'sent' ? ['sent'] : ['sent', last]) {
      await this.#callbacks.post(rule?.delay_ms ?? CALLBACK_DELAY, () => {
        message.status = status;
        if (status !== 'sent' && status !== 'delivered') message.errorCode = rule.error_code ?? 30008;
        return told ? callbackOf(message, form) : undefined;
      });
    }
  }
}

export class TwilioList {
  name = 'twilio_list';
  #inbox;

  constructor(inbox) {
    this.#inbox = inbox;
  }

  serves(method, path) {
    return method === 'GET' && PATH.test(path);
  }

  check(request) {
    const refusal = refusalOfCaller(request);
    if (refusal !== undefined) return { refusal };
    const query = new URLSearchParams(request.query);
    return { text: query.get('To') ?? '', accept: () => jsonReply(200, this.#list(query, request.path)) };
  }

  failure = scriptedError;

  #list(query, path) {
    const size = Math.min(Math.max(Number(query.get('PageSize') ?? 50) || 50, 1), 1000);
    const page = Math.max(Number(query.get('Page') ?? 0) || 0, 0);
    const wanted = filterOf(query);
    const found = [];
    // One more than the page, to know whether another follows.
    for (const message of this.#inbox.newestFirst('twilio')) {
      if (wanted(message) && found.push(message) > (page + 1) * size) break;
    }
    const shown = found.slice(page * size, (page + 1) * size);
    const uriOf = (number) => {
      const parameters = new URLSearchParams(query);
      parameters.set('PageSize', size);
      parameters.set('Page', number);
      return `${path}?${parameters}`;
    };
    return {
      first_page_uri: uriOf(0),
      next_page_uri: found.length > (page + 1) * size ? uriOf(page + 1) : null,
      previous_page_uri: page > 0 ? uriOf(page - 1) : null,
      uri: uriOf(page),
      page,
      page_size: size,
      start: page * size,
      end: page * size + Math.max(shown.length - 1, 0),
      messages: shown.map((message) => resource(message, parseForm(message.raw))),
    };
  }
}

function filterOf(query) {
  const [to, from] = [query.get('To'), query.get('From')];
  const sentOn = query.get('DateSent');
  const [after, before] = [query.get('DateSent>'), query.get('DateSent<')].map((text) =>
    text === null ? NaN : Date.parse(text),
  );
  return (message) =>
    (to === null || message.to[0] === to) &&
    (from === null || message.from === from) &&
    (sentOn === null || new Date(message.time).toISOString().startsWith(sentOn.slice(0, 10))) &&
    !(message.time < after) &&
    !(message.time > before);
}

function refusalOfCaller(request) {
  if (basicCredentials(request) !== `${ACCOUNT}:${TOKEN}`) return error(20003);
  if (PATH.exec(request.path)[1] !== ACCOUNT) {
    return error(20404, `The requested resource ${request.path} was not found`);
  }
  return undefined;
}

// [code, message] or undefined.
function faultOf(form) {
  if (!form.To) return [21604, "A 'To' phone number is required."];
  if (!NUMBER.test(form.To)) return [21211, `The 'To' number ${form.To} is not a valid phone number.`];
  if (!form.From && !form.MessagingServiceSid) return [21603, "A 'From' phone number is required."];
  if (form.From && !NUMBER.test(form.From) && !/^[\w -]{1,11}$/.test(form.From)) {
    return [21212, `The 'From' number ${form.From} is not a valid phone number, shortcode, or alphanumeric sender ID.`];
  }
  if (!form.Body) return [21602, 'Message body is required.'];
  if (form.Body.length > BODY_CHARACTERS) {
    return [21617, `The concatenated message body exceeds the ${BODY_CHARACTERS} character limit.`];
  }
  if (form.StatusCallback !== undefined && !isHttpUrl(form.StatusCallback)) {
    return [21609, `The StatusCallback URL ${form.StatusCallback} is not a valid URL.`];
  }
  return undefined;
}

function scriptedError({ code, status, reason }) {
  return error(code ?? CODE_OF_STATUS[status] ?? 20500, reason, status);
}

function error(code, message = ERRORS[code]?.[1] ?? 'Error', status = ERRORS[code]?.[0] ?? 400) {
  const headers = status === 401 ? { 'www-authenticate': 'Basic realm="Twilio API"' } : {};
  return jsonReply(status, { code, message, more_info: `https://www.twilio.com/docs/errors/${code}`, status }, headers);
}

function resource(message, form) {
  const date = new Date(message.time).toUTCString().replace('GMT', '+0000');
  const uri = `/2010-04-01/Accounts/${ACCOUNT}/Messages/${message.id}`;
  return {
    account_sid: ACCOUNT,
    api_version: '2010-04-01',
    body: form.Body,
    date_created: date,
    date_sent: message.status === 'queued' ? null : date,
    date_updated: date,
    direction: 'outbound-api',
    error_code: message.errorCode,
    error_message: null,
    from: form.From ?? null,
    messaging_service_sid: form.MessagingServiceSid ?? null,
    num_media: '0',
    num_segments: String(segmentCount(form.Body)),
    price: null,
    price_unit: 'USD',
    sid: message.id,
    status: message.status,
    subresource_uris: { media: `${uri}/Media.json` },
    to: form.To,
    uri: `${uri}.json`,
  };
}

function callbackOf(message, form) {
  const fields = {
    AccountSid: ACCOUNT,
    ApiVersion: '2010-04-01',
    From: message.from,
    MessageSid: message.id,
    MessageStatus: message.status,
    SmsSid: message.id,
    SmsStatus: message.status,
    To: form.To,
    ...(message.errorCode === null ? {} : { ErrorCode: String(message.errorCode) }),
  };
  return {
    url: form.StatusCallback,
    headers: {
      'content-type': 'application/x-www-form-urlencoded',
      'x-twilio-signature': signature(form.StatusCallback, fields),
    },
    body: new URLSearchParams(fields).toString(),
  };
}

// As Twilio signs: the URL, then every field and its value in the order of names.
function signature(url, fields) {
  const text = Object.keys(fields)
    .sort()
    .reduce((sum, name) => sum + name + fields[name], url);
  return createHmac('sha1', TOKEN).update(text).digest('base64');
}

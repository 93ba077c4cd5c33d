// SendGrid's v3 Mail Send.

import { randomBytes } from 'node:crypto';

import { bearerToken, hasJson, isObject, jsonReply, packHeaders, parseJson, textReply } from './http_messages.mjs';
import { shortDigest } from './inbox.mjs';
import { fault, faultsOfMail } from './sendgrid_mail.mjs';

export const API_KEY = 'SG.sandbox';
const STATUS_MESSAGES = {
  400: 'Bad Request',
  401: 'The provided authorization grant is invalid, expired, or revoked',
  403: 'access forbidden',
  413: 'Payload Too Large',
  429: 'too many requests',
};

export class SendGrid {
  name = 'sendgrid';
  #inbox;

  constructor(inbox) {
    this.#inbox = inbox;
  }

  serves(method, path) {
    return method === 'POST' && path === '/v3/mail/send';
  }

  check(request) {
    if (bearerToken(request) !== API_KEY) return { refusal: errors(401, [fault(STATUS_MESSAGES[401])]) };
    if (!hasJson(request)) return { refusal: errors(415, [fault('Content-Type should be application/json.')]) };
    const mail = parseJson(request.body);
    if (!isObject(mail)) return { refusal: errors(400, [fault('Bad Request')]) };
    const faults = faultsOfMail(mail);
    if (faults.length > 0) return { refusal: errors(400, faults) };
    const to = recipientsOf(mail);
    return { text: to.join(' '), accept: () => this.#accept(request, mail, to) };
  }

  failure = ({ status = 500, reason }) =>
    errors(status, [fault(reason ?? STATUS_MESSAGES[status] ?? 'an internal error has occurred')]);

  describe(message) {
    const body = parseJson(message.raw);
    const first = body.personalizations[0];
    const contentOf = (type) => body.content?.find((part) => part.type === type)?.value;
    return {
      from: body.from.email,
      subject: first.subject ?? body.subject,
      text: contentOf('text/plain'),
      html: contentOf('text/html'),
      body,
    };
  }

  #accept(request, mail, to) {
    const id = randomBytes(16).toString('base64url');
    this.#inbox.add(this.name, {
      id,
      to,
      key: keyOf(mail, to),
      raw: request.body,
      headers: packHeaders(request.rawHeaders),
      connection: request.connection,
    });
    return textReply(202, '', { 'x-message-id': id });
  }
}

function keyOf(mail, to) {
  const args = mail.personalizations[0].custom_args ?? mail.custom_args;
  const what =
    args === undefined
      ? shortDigest(JSON.stringify([mail.subject, mail.content, mail.personalizations]))
      : JSON.stringify(args);
  return `${what} ${to.join(' ')}`;
}

function recipientsOf(mail) {
  return mail.personalizations.flatMap((one) =>
    [...one.to, ...(one.cc ?? []), ...(one.bcc ?? [])].map(({ email }) => email),
  );
}

function errors(status, list) {
  return jsonReply(status, { errors: list });
}

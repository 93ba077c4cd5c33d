// What SendGrid finds wrong with the body of a Mail Send: [{message, field, help}].

import { isObject } from './http_messages.mjs';

const HELP = 'http://sendgrid.com/docs/API_Reference/Web_API_v3/Mail/errors.html';
const ADDRESS = /^[^\s@<>]+@[^\s@<>]+\.[^\s@<>]+$|^[^\s@<>]+@localhost$/;
const PERSONALIZATIONS = 1000;

const RESERVED_HEADERS = [
  'x-sg-id', 'x-sg-eid', 'received', 'dkim-signature', 'content-type', 'content-transfer-encoding', 'to', 'from',
  'subject', 'reply-to', 'cc', 'bcc',
];
const MAIL_FIELDS = [
  'personalizations', 'from', 'reply_to', 'reply_to_list', 'subject', 'content', 'attachments', 'template_id',
  'sections', 'headers', 'categories', 'custom_args', 'send_at', 'batch_id', 'asm', 'ip_pool_name', 'mail_settings',
  'tracking_settings',
];
const PERSONALIZATION_FIELDS = [
  'to', 'cc', 'bcc', 'from', 'subject', 'headers', 'substitutions', 'dynamic_template_data', 'custom_args', 'send_at',
];

const NONE = 'The personalizations field is required and must have at least one personalization.';
const TOO_MANY = `There were too many personalizations. The maximum is ${PERSONALIZATIONS}.`;
const NO_TO =
  'The to array is required for all personalization objects, and must have at least one email object with a valid ' +
  'email address.';
const NO_ADDRESS = 'Does not contain a valid address.';
const NO_FROM =
  'The from object must be provided for every email send. It is an object that requires the email parameter, but may ' +
  'also contain a name parameter.';
const NO_SUBJECT =
  'The subject is required. You can get around this requirement if you use a template with a subject defined or if ' +
  'every personalization has a subject defined.';
const NO_CONTENT =
  'Unless a valid template_id is provided, the content parameter is required. There must be at least one defined ' +
  'content block.';
const EMPTY_CONTENT = 'The content value must be a string at least one character in length.';
const CONTENT_ORDER = 'If present, text/plain and text/html must be the first and second content blocks.';

export function faultsOfMail(mail) {
  return [
    ...unknownFields(mail, MAIL_FIELDS, ''),
    ...faultsOfPersonalizations(mail.personalizations),
    ...faultsOfSender(mail.from),
    ...faultsOfSubject(mail),
    ...faultsOfContent(mail),
    ...faultsOfHeaders(mail.headers, 'headers'),
  ];
}

// `anchor`: where on the help page it is explained.
export function fault(message, field = null, anchor = undefined) {
  return { message, field, help: anchor === undefined ? null : `${HELP}#${anchor}` };
}

function faultsOfPersonalizations(list) {
  const field = 'personalizations';
  if (!Array.isArray(list) || list.length === 0) return [fault(NONE, field, '-Personalizations-Errors')];
  if (list.length > PERSONALIZATIONS) return [fault(TOO_MANY, field, '-Personalizations-Errors')];
  return list.flatMap((one, index) => faultsOfPersonalization(one, `${field}.${index}`));
}

function faultsOfPersonalization(one, field) {
  if (!isObject(one) || !Array.isArray(one.to) || one.to.length === 0) {
    return [fault(NO_TO, `${field}.to`, 'message.personalizations.to')];
  }
  const seen = new Set();
  return [
    ...unknownFields(one, PERSONALIZATION_FIELDS, `${field}.`),
    ...faultsOfHeaders(one.headers, `${field}.headers`),
    ...['to', 'cc', 'bcc'].flatMap((kind) => faultsOfRecipients(one[kind] ?? [], field, kind, seen)),
  ];
}

// `seen`: the addresses before these, in lower case.
function faultsOfRecipients(list, field, kind, seen) {
  const anchor = `message.personalizations.${kind}`;
  if (!Array.isArray(list)) return [fault(`The ${kind} field must be an array.`, `${field}.${kind}`, anchor)];
  return list.flatMap((address, index) => {
    const email = address?.email;
    if (!isAddress(email)) return [fault(NO_ADDRESS, `${field}.${kind}.${index}.email`, anchor)];
    if (seen.has(email.toLowerCase())) {
      const repeated =
        'Each email address in the personalization block should be unique between to, cc, and bcc. We found the ' +
        `first duplicate instance of [${email}] in the ${field}.${kind} field.`;
      return [fault(repeated, field, 'message.recipient-errors')];
    }
    seen.add(email.toLowerCase());
    return [];
  });
}

function faultsOfSender(from) {
  const [field, anchor] = ['from.email', 'message.from'];
  if (!isObject(from) || from.email === undefined) return [fault(NO_FROM, field, anchor)];
  return isAddress(from.email) ? [] : [fault(NO_ADDRESS, field, anchor)];
}

function faultsOfSubject({ subject, template_id: template, personalizations }) {
  const everyHasOne = Array.isArray(personalizations) && personalizations.every((one) => isText(one?.subject));
  const given = isText(subject) || template !== undefined || everyHasOne;
  return given ? [] : [fault(NO_SUBJECT, 'subject', 'message.subject')];
}

function faultsOfContent({ content, template_id: template }) {
  if (template !== undefined) return [];
  if (!Array.isArray(content) || content.length === 0) return [fault(NO_CONTENT, 'content', 'message.content')];
  const faults = content.flatMap((part, index) => {
    const full = isText(part?.type) && isText(part?.value);
    return full ? [] : [fault(EMPTY_CONTENT, `content.${index}.value`, 'message.content.value')];
  });
  const plain = content.findIndex((part) => part?.type === 'text/plain');
  if (plain > 0) faults.push(fault(CONTENT_ORDER, 'content', 'message.content'));
  return faults;
}

function faultsOfHeaders(headers, field) {
  const anchor = 'message.headers';
  if (headers === undefined) return [];
  if (!isObject(headers)) return [fault('Headers must be an object of key/value pairs.', field, anchor)];
  return Object.entries(headers).flatMap(([name, value]) => {
    if (RESERVED_HEADERS.includes(name.toLowerCase())) return [fault(`The header ${name} is reserved.`, field, anchor)];
    return typeof value === 'string' ? [] : [fault('Header values must be strings.', `${field}.${name}`, anchor)];
  });
}

function unknownFields(value, known, prefix) {
  const unknown = Object.keys(value).filter((name) => !known.includes(name));
  return unknown.map((name) => fault(`Additional property ${name} is not allowed`, `${prefix}${name}`));
}

function isAddress(text) {
  return typeof text === 'string' && ADDRESS.test(text);
}

function isText(value) {
  return typeof value === 'string' && value !== '';
}

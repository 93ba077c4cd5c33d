#!/usr/bin/env node
// Parses a raw mail with mailparser. Prints {headers, header_lines, subject, from, to, cc, text, html,
// message_id, attachments}; headers as mailparser reads them, header_lines as they stand in the mail.

import { simpleParser } from 'mailparser';

import { run } from './standard_input.mjs';

await run(async (raw) => {
  const mail = await simpleParser(raw, { skipTextToHtml: true, skipHtmlToText: true, skipTextLinks: true });
  const addresses = (field) => (field === undefined ? [] : [field].flat().flatMap(({ value }) => value));
  return {
    headers: Object.fromEntries(mail.headers),
    header_lines: mail.headerLines.map(({ key, line }) => ({ name: key, line })),
    subject: mail.subject,
    from: addresses(mail.from),
    to: addresses(mail.to),
    cc: addresses(mail.cc),
    text: mail.text,
    html: mail.html === false ? undefined : mail.html,
    message_id: mail.messageId,
    attachments: mail.attachments.map(({ filename, contentType, size }) => ({ filename, contentType, size })),
  };
});

// Reads a mail far enough to show it: headers, and the first text of each kind.

const ENCODED_WORD = /=\?([^?*]+)(?:\*[^?]*)?\?([bq])\?([^?]*)\?=/gi;
// White space between two encoded words is not part of the text (RFC 2047, 6.2).
const BETWEEN_WORDS = /(\?=)\s+(?==\?)/g;
const DEPTH = 10;

// {headers: {lower-case name: value}, subject, text, html}
export function readMail(raw) {
  const found = {};
  const headers = readPart(raw.toString('latin1'), found, 0);
  return { headers, subject: headers.subject, text: found['text/plain'], html: found['text/html'] };
}

// `source` is one byte a character. Collects texts by type and returns the headers of the part.
function readPart(source, found, depth) {
  const [head, body] = split(source);
  const headers = readHeaders(head);
  const { value: type, parameters } = readParameters(headers['content-type'] ?? 'text/plain');
  if (type.startsWith('multipart/') && parameters.boundary !== undefined && depth < DEPTH) {
    for (const part of partsOf(body, parameters.boundary)) readPart(part, found, depth + 1);
  } else if (type.startsWith('text/') && found[type] === undefined) {
    found[type] = decodeText(decodeTransfer(body, headers['content-transfer-encoding']), parameters.charset);
  }
  return headers;
}

function split(source) {
  // A part may have no header at all.
  if (/^\r?\n/.test(source)) return ['', source.replace(/^\r?\n/, '')];
  const match = /\r?\n\r?\n/.exec(source);
  return match === null ? [source, ''] : [source.slice(0, match.index), source.slice(match.index + match[0].length)];
}

function readHeaders(head) {
  const headers = {};
  for (const line of head.replace(/\r?\n(?=[ \t])/g, '').split(/\r?\n/)) {
    const colon = line.indexOf(':');
    if (colon <= 0) continue;
    const name = line.slice(0, colon).trim().toLowerCase();
    const value = decodeWords(line.slice(colon + 1).trim());
    headers[name] = headers[name] === undefined ? value : `${headers[name]}, ${value}`;
  }
  return headers;
}

function readParameters(text) {
  const [value, ...rest] = text.split(/;\s*(?=[\w*-]+=)/);
  const parameters = {};
  for (const part of rest) {
    const match = /^([\w-]+)=(?:"([^"]*)"|([^\s;]*))/.exec(part.trim());
    if (match !== null) parameters[match[1].toLowerCase()] = match[2] ?? match[3];
  }
  return { value: value.split(';')[0].trim().toLowerCase(), parameters };
}

function partsOf(body, boundary) {
  const parts = `\r\n${body}`.split(new RegExp(`\\r?\\n--${boundary.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}`));
  const end = parts.findIndex((part) => part.startsWith('--'));
  return parts.slice(1, end < 0 ? undefined : end).map((part) => part.replace(/^[ \t]*\r?\n/, ''));
}

function decodeTransfer(body, encoding = '7bit') {
  switch (encoding.trim().toLowerCase()) {
    case 'base64':
      return Buffer.from(body, 'base64');
    case 'quoted-printable':
      return decodeQuoted(body.replace(/[ \t]*=\r?\n/g, ''));
    default:
      return Buffer.from(body, 'latin1');
  }
}

function decodeQuoted(text) {
  return Buffer.from(
    text.replace(/=([0-9a-f]{2})/gi, (_, hex) => String.fromCharCode(parseInt(hex, 16))),
    'latin1',
  );
}

function decodeWords(value) {
  // Bytes beyond ASCII are UTF-8 (RFC 6532).
  const text = decodeText(Buffer.from(value, 'latin1'), 'utf-8').replace(BETWEEN_WORDS, '$1');
  return text.replace(ENCODED_WORD, (_, charset, kind, word) =>
    decodeText(
      kind.toLowerCase() === 'b' ? Buffer.from(word, 'base64') : decodeQuoted(word.replace(/_/g, ' ')),
      charset,
    ),
  );
}

function decodeText(bytes, charset = 'utf-8') {
  try {
    return new TextDecoder(charset).decode(bytes);
  } catch {
    return bytes.toString('latin1');
  }
}

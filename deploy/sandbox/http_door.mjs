// The plain-HTTP port: reads a request, lets the provider of its path check it, and
// answers as the provider or its script says.

import http from 'node:http';

import { requestOf, scriptedReply, textReply } from './http_messages.mjs';
import { perform } from './scripts.mjs';

// SendGrid takes the largest: 30 MB.
const BODY_LIMIT = 30 * 1024 * 1024;
// Longer than a client keeps an idle connection, or it would now and then send into a closed one.
const KEEP_ALIVE_MILLISECONDS = 120_000;

export class HttpDoor {
  server;
  #providers;
  #scripts;
  #connections = 0;

  // A provider has name, serves(method, path), check(request) -> {refusal: reply} or
  // {text, accept() -> reply}, and failure(rule) -> reply.
  constructor(providers, scripts) {
    this.#providers = providers;
    this.#scripts = scripts;
    this.server = http.createServer({ keepAliveTimeout: KEEP_ALIVE_MILLISECONDS }, (...both) => this.#serve(...both));
    // Node 18 ends idle connections by this limit too.
    this.server.headersTimeout = KEEP_ALIVE_MILLISECONDS + 1000;
    this.server.on('connection', (socket) => {
      socket.connectionNumber = ++this.#connections;
    });
  }

  #serve(message, response) {
    const provider = this.#providers.find((candidate) => candidate.serves(message.method, pathOf(message.url)));
    if (provider !== undefined && this.#scripts.refuses(provider.name)) {
      message.socket.destroy();
      return;
    }
    readBody(message, (body) => {
      if (body === undefined) {
        send(response, textReply(413, 'Payload Too Large\n'));
      } else if (provider === undefined) {
        send(response, textReply(404, `nothing is at ${message.method} ${message.url}\n`));
      } else {
        this.#exchange(provider, requestOf(message, body, message.socket.connectionNumber), message.socket, response);
      }
    });
  }

  #exchange(provider, request, socket, response) {
    const checked = check(provider, request);
    if (checked.refusal !== undefined) {
      send(response, checked.refusal);
      return;
    }
    perform(this.#scripts.next(provider.name, checked.text), {
      accept: checked.accept,
      failure: (rule) => scriptedReply(rule, provider.failure),
      answer: (reply) => send(response, reply),
      drop: () => socket.destroy(),
    });
  }
}

// A request that a provider didn't think of must not end the sandbox.
function check(provider, request) {
  try {
    return provider.check(request);
  } catch (error) {
    console.error(`${provider.name}: ${error.stack}`);
    return { refusal: textReply(400, `this sandbox can't read it: ${error.message}\n`) };
  }
}

function pathOf(url) {
  const mark = url.indexOf('?');
  return mark < 0 ? url : url.slice(0, mark);
}

// Calls `then` with the body, or with undefined if it is too large; not at all if it doesn't come whole.
export function readBody(message, then) {
  const chunks = [];
  let size = 0;
  message.on('data', (chunk) => {
    size += chunk.length;
    if (size <= BODY_LIMIT) chunks.push(chunk);
  });
  message.on('end', () => {
    if (size > BODY_LIMIT) then(undefined);
    else then(chunks.length === 1 ? chunks[0] : Buffer.concat(chunks));
  });
  message.on('error', () => {});
}

export function send(response, { status, headers, body }) {
  response.writeHead(status, { ...headers, 'content-length': Buffer.byteLength(body) });
  response.end(body);
}

// The port through which tests and people say what goes wrong and read what arrived.

import http from 'node:http';

import { readBody, send } from './http_door.mjs';
import { isObject, jsonReply, parseJson, unpackHeaders } from './http_messages.mjs';

// A list is written in pieces of about this size: 100 000 messages don't fit into one string.
const PIECE = 1024 * 1024;

export class Control {
  server;
  #inbox;
  #scripts;
  #providers;
  #health;

  // `providers`: name -> who has describe(message). `health()`: more to tell on /healthz.
  constructor(inbox, scripts, providers, health) {
    this.#inbox = inbox;
    this.#scripts = scripts;
    this.#providers = providers;
    this.#health = health;
    this.server = http.createServer({ keepAliveTimeout: 120_000 }, (message, response) => {
      readBody(message, (body) => this.#serve(message, body, response));
    });
  }

  #serve(message, body, response) {
    const { pathname, searchParams } = new URL(message.url, 'http://sandbox');
    const [root, name] = pathname.slice(1).split('/');
    const provider = root === 'messages' ? (searchParams.get('provider') ?? undefined) : name;
    const isKnown = root === 'messages' ? this.#inbox.knows(provider) : this.#scripts.knows(provider);
    if (['messages', 'scripts'].includes(root) && provider !== undefined && !isKnown) {
      const known = this.#scripts.providers().join(', ');
      send(response, jsonReply(404, { error: `no provider ${provider}; there are ${known}` }));
      return;
    }
    switch (`${message.method} /${root}${root === 'messages' && name !== undefined ? `/${name}` : ''}`) {
      case 'GET /healthz':
        send(response, jsonReply(200, { status: 'ok', ...this.#health() }));
        break;
      case 'GET /messages':
        this.#listMessages(provider, searchParams, response);
        break;
      case 'GET /messages/count':
        send(response, jsonReply(200, this.#count(provider)));
        break;
      case 'DELETE /messages':
        this.#inbox.clear();
        send(response, jsonReply(200, {}));
        break;
      case 'GET /scripts':
        send(response, jsonReply(200, this.#listScripts(provider)));
        break;
      case 'POST /scripts':
        send(response, this.#addRules(provider, body));
        break;
      case 'DELETE /scripts':
        this.#scripts.reset(provider);
        send(response, jsonReply(200, {}));
        break;
      default:
        send(response, jsonReply(404, { error: `nothing is at ${message.method} ${pathname}` }));
    }
  }

  #count(provider) {
    const counts = this.#inbox.counts();
    return provider === undefined ? counts : { [provider]: counts[provider] };
  }

  #listScripts(provider) {
    const rules = this.#scripts.list();
    return provider === undefined ? rules : { [provider]: rules[provider] };
  }

  #addRules(provider, body) {
    if (provider === undefined) return jsonReply(404, { error: 'POST /scripts/<provider>' });
    const given = parseJson(body);
    const rules = Array.isArray(given) ? given : [given];
    if (!rules.every(isObject)) return jsonReply(400, { error: 'the body is a rule or an array of rules' });
    try {
      return jsonReply(201, { rules: this.#scripts.add(provider, rules) });
    } catch (error) {
      if (error instanceof RangeError) return jsonReply(400, { error: error.message });
      throw error;
    }
  }

  // The newest that fit, oldest first: {"messages": [...]}.
  async #listMessages(provider, parameters, response) {
    const limit = Number(parameters.get('limit') ?? Infinity);
    if (!(limit >= 0)) {
      send(response, jsonReply(400, { error: 'limit is a number' }));
      return;
    }
    const fitting = [...this.#fitting(provider, parameters)];
    const shown = limit < fitting.length ? fitting.slice(fitting.length - limit) : fitting;
    response.writeHead(200, { 'content-type': 'application/json' });
    let piece = '{"messages":[';
    for (const [index, message] of shown.entries()) {
      piece += (index > 0 ? ',\n' : '\n') + JSON.stringify(this.#view(message));
      if (piece.length > PIECE) {
        if (!response.write(piece)) await drained(response);
        if (response.destroyed) return;
        piece = '';
      }
    }
    response.end(`${piece}\n]}\n`);
  }

  *#fitting(provider, parameters) {
    const [to, id, contained] = ['to', 'id', 'contains'].map((name) => parameters.get(name));
    for (const message of this.#inbox.messages(provider)) {
      if (to !== null && !message.to.includes(to)) continue;
      if (id !== null && message.id !== id) continue;
      if (contained !== null && !this.#contains(message, contained)) continue;
      yield message;
    }
  }

  // As it came, or as it is shown: mails and forms are encoded.
  #contains(message, text) {
    if (message.raw.includes(text)) return true;
    const { raw, ...shown } = this.#view(message);
    const values = [shown.subject, shown.text, shown.html, ...Object.values(shown.headers ?? {})];
    return values.some((value) => typeof value === 'string' && value.includes(text));
  }

  #view(message) {
    const { provider, sequence, time, id, key, to, connection, raw, headers } = message;
    return {
      provider,
      sequence,
      time: new Date(time).toISOString(),
      to: to.join(', '),
      recipients: to,
      id,
      key,
      connection,
      ...(headers === undefined ? {} : { headers: unpackHeaders(headers) }),
      ...describe(this.#providers.get(provider), message),
      raw: raw.toString(),
    };
  }
}

// Resolves when more can be written, or nobody reads any more.
function drained(response) {
  return new Promise((resolve) => {
    const done = () => {
      response.off('drain', done).off('close', done);
      resolve();
    };
    response.on('drain', done).on('close', done);
  });
}

function describe(provider, message) {
  try {
    return provider.describe(message);
  } catch (error) {
    return { unreadable: error.message };
  }
}

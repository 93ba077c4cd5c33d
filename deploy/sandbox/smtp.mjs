// A mail submission server: STARTTLS, AUTH, one recipient after another, messages kept as they came.

import { SMTPServer } from 'smtp-server';

import { readMail } from './mime.mjs';
import { shortDigest } from './inbox.mjs';
import { perform } from './scripts.mjs';

export const USER = 'sandbox';
export const PASSWORD = 'sandbox-password';
const SIZE_BYTES = 25 * 1024 * 1024;
// How long a client may keep an idle connection for its next mail (RFC 5321, 4.5.3.2.7).
const IDLE_MILLISECONDS = 300_000;

const TEXTS = {
  421: '4.3.2 Service not available, closing transmission channel',
  450: '4.2.1 Mailbox unavailable, try again later',
  451: '4.3.0 Local error in processing',
  452: '4.2.2 Mailbox full',
  454: '4.7.0 Temporary authentication failure',
  535: '5.7.8 Authentication credentials invalid',
  550: '5.1.1 No such user',
  552: '5.3.4 Message too big',
  554: '5.7.1 Message refused',
};

export class Smtp {
  name = 'smtp';
  #inbox;
  #scripts;
  #smtp;
  // Per remote port, of connections that are open: what smtp-server tells of a session has no socket.
  #sockets = new Map();
  #connections = 0;

  constructor(inbox, scripts, identity) {
    this.#inbox = inbox;
    this.#scripts = scripts;
    this.#smtp = new SMTPServer({
      name: 'sandbox',
      banner: 'carillon-sandbox',
      key: identity.certificateKey,
      cert: identity.certificate,
      // Both ways to log in are tried against it.
      allowInsecureAuth: true,
      authMethods: ['PLAIN', 'LOGIN'],
      disableReverseLookup: true,
      size: SIZE_BYTES,
      socketTimeout: IDLE_MILLISECONDS,
      onConnect: (session, callback) => this.#connect(session, callback),
      onAuth: (auth, session, callback) => this.#authenticate(auth, session, callback),
      onMailFrom: ({ address }, session, callback) => this.#stage('mail', address, session, callback),
      onRcptTo: ({ address }, session, callback) => this.#stage('rcpt', address, session, callback),
      onData: (stream, session, callback) => this.#receive(stream, session, callback),
      onClose: (session) => this.#forget(session.remotePort),
    });
    // Clients that go away in the middle are part of the play.
    this.#smtp.on('error', () => {});
    this.server.on('connection', (socket) => this.#remember(socket));
  }

  // The listener.
  get server() {
    return this.#smtp.server;
  }

  disconnectAll() {
    for (const socket of this.#sockets.values()) socket.destroy();
  }

  describe(message) {
    return { envelope: { from: message.from, to: message.to }, secure: message.secure, ...readMail(message.raw) };
  }

  #connect(session, callback) {
    session.number = ++this.#connections;
    this.#stage('connect', '', session, callback);
  }

  #authenticate(auth, session, callback) {
    if (auth.username !== USER || auth.password !== PASSWORD) {
      callback(errorOf(535));
      return;
    }
    this.#stage('auth', auth.username, session, (error) => callback(error, { user: auth.username }));
  }

  #receive(stream, session, callback) {
    const chunks = [];
    stream.on('data', (chunk) => {
      if (!stream.sizeExceeded) chunks.push(chunk);
    });
    stream.on('end', () => {
      if (stream.sizeExceeded) {
        callback(errorOf(552));
        return;
      }
      const to = session.envelope.rcptTo.map(({ address }) => address);
      const from = session.envelope.mailFrom.address;
      this.#stage('data', to.join(' '), session, callback, () =>
        this.#accept(Buffer.concat(chunks), from, to, session),
      );
    });
  }

  #accept(raw, from, to, session) {
    // Only what the key needs is read now, the rest when somebody looks.
    const id = messageIdOf(raw) ?? `<${shortDigest(raw)}@sandbox>`;
    this.#inbox.add(this.name, {
      id,
      to,
      from,
      key: `${id} ${to.join(' ')}`,
      raw,
      connection: session.number,
      secure: session.secure,
    });
    return `2.0.0 Ok: queued as ${shortDigest(id)}`;
  }

  // Does what the script says about this step of a session, or accepts it.
  #stage(stage, text, session, callback, accept = () => undefined) {
    perform(this.#scripts.next(this.name, text, stage), {
      accept,
      failure: ({ code, status, reason }) => errorOf(code ?? status ?? 450, reason),
      answer: (reply) => (reply instanceof Error ? callback(reply) : callback(null, reply)),
      drop: () => this.#sockets.get(session.remotePort)?.destroy(),
    });
  }

  #remember(socket) {
    const { remotePort } = socket;
    this.#sockets.set(remotePort, socket);
    // STARTTLS takes this listener away; onClose comes then.
    socket.once('close', () => this.#forget(remotePort));
  }

  #forget(remotePort) {
    if (this.#sockets.get(remotePort)?.destroyed) this.#sockets.delete(remotePort);
  }
}

function messageIdOf(raw) {
  const end = raw.indexOf('\r\n\r\n');
  const head = raw.toString('latin1', 0, end < 0 ? raw.length : end);
  const id = /^message-id:\s*(\S+)/im.exec(head)?.[1];
  // Copied, as a part of a text keeps all of it in memory.
  return id === undefined ? undefined : Buffer.from(id).toString();
}

function errorOf(code, text = TEXTS[code] ?? 'Refused') {
  return Object.assign(new Error(text), { responseCode: Number(code) });
}

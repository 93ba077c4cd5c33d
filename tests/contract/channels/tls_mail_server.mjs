// A mail server with TLS from the first byte, which takes everything: PORT DIRECTORY, the
// directory of a sandbox, whose certificate it has.

import { readFileSync } from 'node:fs';

import { SMTPServer } from '../../../deploy/sandbox/node_modules/smtp-server/lib/smtp-server.js';

const [port, directory] = process.argv.slice(2);
const server = new SMTPServer({
  secure: true,
  key: readFileSync(`${directory}/tls.key`),
  cert: readFileSync(`${directory}/ca.pem`),
  disableReverseLookup: true,
  onAuth: ({ username }, _session, callback) => callback(null, { user: username }),
});
// Clients that only look whether it listens are none.
server.on('error', () => {});
server.listen(Number(port), '127.0.0.1');

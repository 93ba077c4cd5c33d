// What the sandbox is known by: its certificate, the key of APNs tokens and the service
// account of FCM. Made once per directory, so that a restart invalidates nothing.

import { execFileSync } from 'node:child_process';
import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export const PROJECT = 'sandbox';
const CLIENT_EMAIL = 'carillon@sandbox.iam.gserviceaccount.com';

export class Identity {
  certificate;
  certificateKey;
  apnsPublicKey;
  #directory;
  #account;

  constructor(directory) {
    this.#directory = directory;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    this.#loadCertificate();
    this.#loadApnsKey();
    this.#loadAccount();
  }

  get account() {
    return this.#account;
  }

  // The public half of the service account's key, and a secret that nobody outside knows.
  accountKeys() {
    const privateKey = createPrivateKey(this.#account.private_key);
    return { publicKey: createPublicKey(privateKey), secret: this.#account.private_key };
  }

  // Access tokens are fetched where we listen, which is known only then.
  setTokenUri(uri) {
    if (this.#account.token_uri === uri) return;
    this.#account.token_uri = uri;
    this.#write('fcm-service-account.json', `${JSON.stringify(this.#account, null, 2)}\n`);
  }

  #loadCertificate() {
    const [certificate, key] = ['ca.pem', 'tls.key'].map((name) => join(this.#directory, name));
    if (!existsSync(certificate)) {
      const files = [`${certificate}.new`, `${key}.new`];
      makeCertificate(...files);
      // The certificate last: where it is, its key is too.
      renameSync(files[1], key);
      renameSync(files[0], certificate);
    }
    this.certificate = readFileSync(certificate);
    this.certificateKey = readFileSync(key);
  }

  #loadApnsKey() {
    const pem = this.#readOrMake('apns.p8', () => newPrivateKey('ec', { namedCurve: 'P-256' }));
    this.apnsPublicKey = createPublicKey(createPrivateKey(pem));
  }

  #loadAccount() {
    this.#account = JSON.parse(
      this.#readOrMake('fcm-service-account.json', () =>
        JSON.stringify({
          type: 'service_account',
          project_id: PROJECT,
          private_key_id: 'sandbox-key',
          private_key: newPrivateKey('rsa', { modulusLength: 2048 }),
          client_email: CLIENT_EMAIL,
          client_id: '100000000000000000001',
          token_uri: '',
        }),
      ),
    );
  }

  #readOrMake(name, make) {
    const path = join(this.#directory, name);
    if (!existsSync(path)) this.#write(name, make());
    return readFileSync(path, 'utf8');
  }

  #write(name, text) {
    const path = join(this.#directory, name);
    writeFileSync(`${path}.new`, text, { mode: 0o600 });
    renameSync(`${path}.new`, path);
  }
}

function newPrivateKey(kind, options) {
  return generateKeyPairSync(kind, options).privateKey.export({ type: 'pkcs8', format: 'pem' });
}

function makeCertificate(certificate, key) {
  writeFileSync(key, '', { mode: 0o600 });
  execFileSync(
    'openssl',
    [
      'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '3650',
      '-sha256', '-subj', '/CN=carillon-sandbox', '-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost', '-addext',
      'keyUsage=critical,digitalSignature,keyCertSign', '-addext', 'extendedKeyUsage=serverAuth', '-keyout', key,
      '-out', certificate,
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
}

// Google's token endpoint: access tokens for assertions that the service account has signed.

import { createHmac, randomBytes } from 'node:crypto';

import { hasForm, jsonReply, packHeaders, parseForm } from './http_messages.mjs';
import { shortDigest } from './inbox.mjs';
import { verifiedJwt } from './jwt.mjs';

const TOKEN_SECONDS = 3600;
// How far two clocks may differ.
const SKEW_SECONDS = 300;
const SCOPES = [
  'https://www.googleapis.com/auth/firebase.messaging',
  'https://www.googleapis.com/auth/cloud-platform',
];
const NOT_TIMELY =
  'Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp ' +
  'values in the JWT claim.';
const GRANT = 'urn:ietf:params:oauth:grant-type:jwt-bearer';

// Access tokens of our own making: they hold until when they are good, so a restart forgets none.
export class AccessTokens {
  #secret;

  constructor(secret) {
    this.#secret = secret;
  }

  issue() {
    const text = `${Math.floor(Date.now() / 1000) + TOKEN_SECONDS}.${randomBytes(12).toString('base64url')}`;
    return `ya29.${text}.${this.#sign(text)}`;
  }

  isGood(token) {
    const match = /^ya29\.((\d+)\.[\w-]+)\.([\w-]+)$/.exec(token ?? '');
    return match !== null && Number(match[2]) > Date.now() / 1000 && this.#sign(match[1]) === match[3];
  }

  #sign(text) {
    return createHmac('sha256', this.#secret).update(text).digest('base64url');
  }
}

export class FcmToken {
  name = 'fcm_token';
  #inbox;
  #identity;
  #publicKey;
  #tokens;

  constructor(inbox, identity, publicKey, tokens) {
    this.#inbox = inbox;
    this.#identity = identity;
    this.#publicKey = publicKey;
    this.#tokens = tokens;
  }

  serves(method, path) {
    return method === 'POST' && path === '/token';
  }

  check(request) {
    const form = hasForm(request) ? parseForm(request.body) : {};
    if (form.grant_type !== GRANT) {
      return { refusal: oauthError(400, 'unsupported_grant_type', `Invalid grant_type: ${form.grant_type ?? ''}`) };
    }
    const jwt = verifiedJwt(form.assertion ?? '', 'RS256', this.#publicKey);
    if (jwt === undefined) return { refusal: oauthError(400, 'invalid_grant', 'Invalid JWT Signature.') };
    const fault = faultOfClaims(jwt.claims, this.#identity.account);
    if (fault !== undefined) return { refusal: oauthError(400, ...fault) };
    return { text: jwt.claims.iss, accept: () => this.#accept(request, form, jwt.claims) };
  }

  failure = ({ status = 500, code, reason }) =>
    oauthError(status, code ?? (status < 500 ? 'invalid_grant' : 'internal_failure'), reason ?? 'Scripted failure.');

  describe(message) {
    return { body: parseForm(message.raw) };
  }

  #accept(request, form, claims) {
    this.#inbox.add(this.name, {
      id: shortDigest(form.assertion),
      to: [claims.iss],
      key: form.assertion,
      raw: request.body,
      headers: packHeaders(request.rawHeaders),
      connection: request.connection,
    });
    return jsonReply(200, { access_token: this.#tokens.issue(), expires_in: TOKEN_SECONDS, token_type: 'Bearer' });
  }
}

// [error, description] or undefined.
function faultOfClaims(claims, account) {
  const now = Date.now() / 1000;
  if (claims.iss !== account.client_email) return ['invalid_grant', 'Invalid grant: account not found'];
  if (claims.aud !== account.token_uri) {
    return ['invalid_grant', `Invalid JWT: Failed audience check. The right audience is ${account.token_uri}`];
  }
  if (!isTimely(claims, now)) return ['invalid_grant', NOT_TIMELY];
  const scopes = String(claims.scope ?? '').split(' ');
  if (scopes.some((scope) => SCOPES.includes(scope))) return undefined;
  return ['invalid_scope', 'Invalid OAuth scope or ID token audience provided.'];
}

function isTimely({ iat, exp }, now) {
  if (!Number.isInteger(iat) || !Number.isInteger(exp)) return false;
  const length = exp - iat;
  return iat < now + SKEW_SECONDS && exp > now - SKEW_SECONDS && length > 0 && length <= TOKEN_SECONDS;
}

function oauthError(status, error, description) {
  return jsonReply(status, { error, error_description: description });
}

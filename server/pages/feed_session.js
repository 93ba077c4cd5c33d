// Who looks at a feed: a user token, and the app that issues the next one, if there is one.
import {call} from './connect.js';
import {appHeaders, credentials, keepCredentials} from './session.js';

const STORE = 'carillon.user';
const TTL = 900;

/** @typedef {{token: string, user: string, expires: number}} UserSession */

/** What a token says, without believing it: the server does the checking. @param {string} token @returns {UserSession} */
export function readToken(token) {
  try {
    const bytes = Uint8Array.from(atob(token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/')), (char) => char.charCodeAt(0));
    const {sub, exp} = JSON.parse(new TextDecoder().decode(bytes));
    if (!sub) throw new Error();
    return {token, user: String(sub), expires: Number(exp ?? 0) * 1000};
  } catch {
    throw new Error('this is not a user token');
  }
}

/** @returns {UserSession|null} */
export const session = () => JSON.parse(sessionStorage.getItem(STORE) ?? 'null');

/** @param {UserSession} next */
export function keepSession(next) {
  sessionStorage.setItem(STORE, JSON.stringify(next));
}

/** @returns {Record<string, string>} */
export const userHeaders = () => ({authorization: `Bearer ${session()?.token ?? ''}`});

/** @param {string} user */
async function issue(user) {
  const {token, expireTime} = await call('RecipientService/IssueUserToken', {userId: user, ttl: `${TTL}s`}, appHeaders());
  keepSession({token, user, expires: Date.parse(expireTime)});
}

/** @param {string} user @param {string} key @param {string} secret */
export async function openAsApp(user, key, secret) {
  keepCredentials(key, secret);
  await issue(user);
}

/** The next token. False: there is nobody to issue one. */
export async function renewToken() {
  const now = session();
  if (!now || !credentials()) return false;
  await issue(now.user);
  return true;
}

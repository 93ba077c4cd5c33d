// Credentials of an app: of this tab, in no address, gone when it is closed.

const STORE = 'carillon.app';

/** @returns {{key: string, secret: string}|null} */
export function credentials() {
  return JSON.parse(sessionStorage.getItem(STORE) ?? 'null');
}

/** @param {string} key @param {string} secret */
export function keepCredentials(key, secret) {
  sessionStorage.setItem(STORE, JSON.stringify({key, secret}));
}

export function forgetEverything() {
  sessionStorage.clear();
}

/** What a call by the app carries. @returns {Record<string, string>} */
export function appHeaders() {
  const known = credentials();
  return known ? {'x-app-key': known.key, 'x-app-secret': known.secret} : {};
}

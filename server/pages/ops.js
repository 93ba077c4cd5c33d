// The operations page: signing in, going from view to view, and asking how it stands.
import {call} from './connect.js';
import {announce, byId, nameTables, setAttribute, setText} from './dom.js';
import {clock, length, number, short} from './format.js';
import {showLetters} from './letters.js';
import {showNotification, leaveNotification} from './notification.js';
import {overviewRequest, showOverview} from './overview.js';
import {poll} from './poller.js';
import {showReplays} from './replays.js';
import {appHeaders, credentials, forgetEverything, keepCredentials} from './session.js';

const INTERVAL = 2000;
const NOTICE = 'carillon.notice';
const VIEWS = {
  overview: {title: 'Overview', show: () => {}},
  letters: {title: 'Dead letters', show: showLetters},
  replays: {title: 'Replays', show: showReplays},
  notification: {title: 'Notification', show: showNotification, leave: leaveNotification},
};

/** @type {ReturnType<typeof poll>|null} */
let polling = null;
let reached = {ok: true, since: 0, next: 0};
let latest = 0;
/** @type {keyof typeof VIEWS|''} */
let current = '';

/** The view and what it is asked for: #letters?queue=otp.sms, #notification/0197... */
function address() {
  const [path, query = ''] = location.hash.slice(1).split('?');
  const [name, ...rest] = path.split('/');
  const view = /** @type {keyof typeof VIEWS} */ (Object.hasOwn(VIEWS, name) ? name : 'overview');
  return {view, id: decodeURIComponent(rest.join('/')), query: new URLSearchParams(query)};
}

function showView() {
  if (!polling) return;
  const {view, id, query} = address();
  const moved = view !== current;
  if (moved && current) VIEWS[current].leave?.();
  for (const name of Object.keys(VIEWS)) byId(`view-${name}`).hidden = name !== view;
  for (const link of byId('navigation').children) {
    if (link.hash === `#${view}`) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  document.title = `${VIEWS[view].title} - Carillon operations`;
  if (moved && current) {
    byId(`view-${view}`).querySelector('h1').focus({preventScroll: true});
    scrollTo(0, 0);
  }
  current = view;
  VIEWS[view].show({id, query});
}

function showReachability() {
  const node = byId('reachability');
  setAttribute(node, 'class', `reachability state ${reached.ok ? 'good' : 'bad'}`);
  if (reached.ok) return setText(node, latest ? `As of ${clock(latest)}` : 'Connecting');
  const wait = Math.max(0, Math.round((reached.next - Date.now()) / 1000));
  setText(node, `Not reachable since ${clock(reached.since)}; ${wait ? `next try in ${length(wait)}` : 'trying'}`);
}

async function refresh() {
  const answer = await call('AdminService/ListQueues', overviewRequest(), appHeaders());
  latest = Date.now();
  showOverview(answer);
  const dead = (answer.lanes ?? []).reduce((sum, lane) => sum + number(lane.dead), 0);
  byId('dead-total').hidden = dead === 0;
  setText(byId('dead-total'), short(dead));
}

function start() {
  byId('sign-in').hidden = true;
  byId('navigation').hidden = byId('session').hidden = false;
  reached = {ok: true, since: Date.now(), next: 0};
  polling = poll(refresh, INTERVAL, (state) => {
    if (state.error?.refused) return signOut(`${state.error.message}. Sign in again.`);
    if (state.ok !== reached.ok) announce(state.ok ? 'The server answers again.' : 'The server can’t be reached.');
    reached = state;
    showReachability();
  });
  showReachability();
  showView();
}

function signOut(why = '') {
  polling?.stop();
  polling = null;
  if (current) VIEWS[current].leave?.();
  current = '';
  forgetEverything();
  sessionStorage.setItem(NOTICE, why);
  // Nothing of what was shown stays.
  location.reload();
}

function askToSignIn() {
  document.title = 'Sign in - Carillon operations';
  byId('sign-in').hidden = false;
  setText(byId('sign-in-error'), sessionStorage.getItem(NOTICE) ?? '');
  sessionStorage.removeItem(NOTICE);
  byId('app-key').focus();
}

byId('sign-in-form').addEventListener('submit', async (event) => {
  event.preventDefault();
  const [key, secret] = [byId('app-key').value.trim(), byId('app-secret').value.trim()];
  const button = event.target.querySelector('button');
  button.disabled = true;
  setText(byId('sign-in-error'), '');
  try {
    await call('AdminService/ListQueues', {}, {'x-app-key': key, 'x-app-secret': secret});
    keepCredentials(key, secret);
    event.target.reset();
    start();
    byId('view-overview').querySelector('h1').focus();
  } catch (error) {
    setText(byId('sign-in-error'), `That did not work: ${error.message}.`);
  } finally {
    button.disabled = false;
  }
});
byId('sign-out').addEventListener('click', () => signOut());
window.addEventListener('hashchange', showView);
setInterval(() => { if (polling && !reached.ok) showReachability(); }, 1000);

nameTables();
if (credentials()) start();
else askToSignIn();

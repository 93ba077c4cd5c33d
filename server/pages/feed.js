// The feed of one person, live.
import {call} from './connect.js';
import {announce, byId, element, keyedList, nameTables, setAttribute, setText} from './dom.js';
import {openAsApp, keepSession, readToken, renewToken, session, userHeaders} from './feed_session.js';
import {FeedStream} from './feed_stream.js';
import {ago, clock, count, length, many, number, time, word} from './format.js';
import {forgetEverything} from './session.js';

const SHOWN = 200;
const EARLY = 60_000;
const AGAIN = 3000;

/** @type {Map<string, any>} by notification id */
let items = new Map();
let unread = 0;
/** @type {number|null} */
let lostAt = null;
let missed = 0;
let everLive = false;
let renewal = 0;
let counting = 0;
let telling = 0;

const stream = new FeedStream(() => session()?.token ?? '', {
  change, connection, refused: countUnread,
  resumeRequired: () => list('Some of it was too old to be told again, so the list is new.'),
});

/** @param {string|undefined} address one that is safe to follow */
function link(address) {
  return /^(https?:\/\/|\/(?!\/))/.test(address ?? '') ?
    element('a', {href: address, rel: 'noopener noreferrer', target: '_blank'}, 'Open') : null;
}

function itemRow() {
  const [title, body, facts, initial] = [element('p', {class: 'item-title'}), element('p', {class: 'item-body'}), element('p', {class: 'muted item-facts'}),
    element('span', {'class': 'avatar', 'aria-hidden': 'true'})];
  const more = element('span', {class: 'item-link'});
  const fresh = element('span', {class: 'visually-hidden'}, 'unread');
  let id = '';
  const mark = element('button', {type: 'button', class: 'small quiet', onclick: () => markRead({notificationIds: [id]})}, 'Mark as read');
  const node = element('li', {class: 'panel item'}, initial, element('div', {class: 'item-text'}, title, body, facts), element('div', {class: 'actions'}, fresh, more, mark));
  return {node, update(item) {
    id = item.notificationId;
    node.dataset.id = id;
    node.classList.toggle('unread', !item.read);
    fresh.hidden = mark.hidden = Boolean(item.read);
    setText(title, item.title || item.type);
    setText(body, item.body ?? '');
    setText(initial, (item.actor?.name || item.actor?.actorId || item.type || '?').slice(0, 1).toUpperCase());
    setText(facts, [item.actor?.name || item.actor?.actorId, item.badge || item.type, time(item.createTime), number(item.actorCount) > 1 ? `${count(item.actorCount)} people` : '']
      .filter(Boolean).join(' · '));
    setAttribute(mark, 'aria-label', `Mark as read: ${item.title || item.type}`);
    if (more.dataset.link !== (item.actionLink ?? '')) {
      more.dataset.link = item.actionLink ?? '';
      more.replaceChildren(...[link(item.actionLink)].filter((node) => node !== null));
    }
  }};
}

const showItems = keyedList(byId('items'), (item) => item.notificationId, itemRow);

function render() {
  const newest = [...items.values()].sort((a, b) => number(b.seq) - number(a.seq)).slice(0, SHOWN);
  items = new Map(newest.map((item) => [item.notificationId, item]));
  showItems(newest);
  byId('no-items').hidden = newest.length > 0;
  setText(byId('unread'), count(unread));
  setAttribute(byId('unread'), 'class', unread > 0 ? 'count' : 'count zero');
  byId('mark-all').disabled = unread === 0;
  document.title = `${unread > 0 ? `(${count(unread)}) ` : ''}Live feed`;
}

/** @param {any} marker */
function applyMarker(marker) {
  const marked = new Set(marker.notificationIds ?? []);
  for (const item of items.values()) {
    if (number(item.seq) <= number(marker.upToSeq) || marked.has(item.notificationId)) item.read = true;
  }
  unread = number(marker.unread);
}

/** @param {any} message a SubscribeResponse @param {string} name of its event */
function change(message, name) {
  if (lostAt !== null) missed += 1;
  if (name === 'read_marker') applyMarker(message.readMarker);
  const known = items.get(message.item?.notificationId ?? message.removed?.notificationId ?? '');
  if (name === 'removed') {
    if (!known?.read) countSoon();
    items.delete(message.removed.notificationId);
  }
  if (name === 'item') {
    if (!message.item.read && (!known || known.read)) unread += 1;
    // It may be an older one that changed: nobody here knows whether that was read.
    if (!known && number(message.item.actorCount) > 0) countSoon();
    items.set(message.item.notificationId, message.item);
    if (!known) announce(`New: ${message.item.title || message.item.type}`);
  }
  render();
}

async function countUnread() {
  try {
    unread = number((await call('FeedService/GetFeedSummary', {userId: session()?.user}, userHeaders())).unread);
    render();
  } catch (error) {
    if (error.refused && !(await renewToken().catch(() => false))) signOut(`${error.message}.`);
  }
}

function countSoon() {
  clearTimeout(counting);
  counting = setTimeout(countUnread, 300);
}

/** @param {boolean} isLive */
function connection(isLive) {
  if (isLive && lostAt !== null) {
    const away = (Date.now() - lostAt) / 1000;
    // What was sent meanwhile comes right behind.
    telling = setTimeout(() => {
      notice(`The connection was away for ${length(away)}. ${missed ? `${many(missed, 'change')} came meanwhile and ${missed === 1 ? 'is' : 'are'} shown now.` : 'Nothing was sent meanwhile.'}`, 'good');
      [lostAt, missed] = [null, 0];
    }, 1000);
  }
  if (!isLive) clearTimeout(telling);
  if (!isLive && lostAt === null) lostAt = Date.now();
  if (isLive !== everLive && (everLive || !isLive)) announce(isLive ? 'Live again' : 'The connection is lost; trying again');
  everLive = isLive;
  showConnection();
}

function showConnection() {
  setAttribute(byId('connection'), 'class', `reachability state ${everLive ? 'good' : lostAt === null ? 'idle' : 'bad'}`);
  setText(byId('connection'), everLive ? 'Live' : lostAt === null ? 'Connecting' : `Connection lost at ${clock(lostAt)}; trying again`);
}

/** @param {string} text @param {'good'|'warn'|'bad'} kind */
function notice(text, kind) {
  byId('feed-notice').hidden = text === '';
  setAttribute(byId('feed-notice'), 'class', `notice ${kind}`);
  setText(byId('feed-notice'), text);
}

/** First how far the feed is, then what is in it: the stream tells whatever came in between. @param {string} why */
async function list(why = '') {
  try {
    const userId = session()?.user;
    const summary = await call('FeedService/GetFeedSummary', {userId}, userHeaders());
    const answer = await call('FeedService/ListFeed', {userId, pageSize: 50}, userHeaders());
    items = new Map((answer.items ?? []).map((item) => [item.notificationId, item]));
    unread = number(summary.unread);
    if (why) notice(why, 'warn');
    render();
    stream.start(number(summary.lastSeq));
  } catch (error) {
    if (error.refused) return signOut(`${error.message}.`);
    connection(false);
    setTimeout(() => session() && list(why), AGAIN);
  }
}

/** @param {object} which */
async function markRead(which) {
  try {
    const {unread: left} = await call('FeedService/MarkRead', {userId: session()?.user, ...which}, userHeaders());
    applyMarker({...which, unread: left});
    render();
    announce(`${many(unread, 'unread item')}`);
  } catch (error) {
    notice(`It could not be marked: ${error.message}.`, 'bad');
  }
}

/** The next token comes a minute early, so that the stream never ends for want of one. */
function planRenewal() {
  clearTimeout(renewal);
  const left = (session()?.expires ?? 0) - Date.now();
  renewal = setTimeout(async () => {
    try {
      if (await renewToken()) {
        stream.renew();
        return planRenewal();
      }
      notice(`The token ends at ${clock(session()?.expires)}.`, 'warn');
      renewal = setTimeout(() => signOut('The token has ended.'), Math.max(0, (session()?.expires ?? 0) - Date.now()));
    } catch {
      renewal = setTimeout(planRenewal, AGAIN);
    }
  }, Math.max(left - EARLY, 0));
}

function open() {
  byId('sign-in').hidden = true;
  byId('feed').hidden = byId('session').hidden = false;
  setText(byId('feed-user'), session()?.user);
  showConnection();
  byId('feed-title').focus();
  planRenewal();
  list();
}

function signOut(why = '') {
  forgetEverything();
  sessionStorage.setItem('carillon.notice', why);
  location.reload();
}

/** @param {string} id @param {(form: any) => Promise<void>|void} signIn */
function onSignIn(id, signIn) {
  byId(id).addEventListener('submit', async (event) => {
    event.preventDefault();
    setText(byId('sign-in-error'), '');
    try {
      await signIn(event.target.elements);
      event.target.reset();
      open();
    } catch (error) {
      forgetEverything();
      setText(byId('sign-in-error'), `That did not work: ${error.message}.`);
    }
  });
}

onSignIn('token-form', (form) => keepSession(readToken(form.token.value.trim())));
onSignIn('app-form', (form) => openAsApp(form.user.value.trim(), form.username.value.trim(), form.password.value.trim()));
byId('sign-out').addEventListener('click', () => signOut());
byId('mark-all').addEventListener('click', () => markRead({upToSeq: String(stream.seq)}));
nameTables();
if (session()) {
  open();
} else {
  byId('sign-in').hidden = false;
  setText(byId('sign-in-error'), sessionStorage.getItem('carillon.notice') ?? '');
  sessionStorage.removeItem('carillon.notice');
}

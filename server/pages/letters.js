// Dead letters: how many of which kind, and each by itself.
import {call} from './connect.js';
import {announce, byId, element, setFacts, setText, tableRow} from './dom.js';
import {ago, count, many, number, time} from './format.js';
import {addressOfForm, fillForm, filterOf, inWords, rowsOf} from './letter_filter.js';
import {openReplay} from './replay_dialog.js';
import {appHeaders, credentials} from './session.js';

const PAGE = 25;

/** @type {Record<string, any>} */
let filter = {};
/** @type {any[]} */
let groups = [];
let lettersFilter = {};
let nextPage = '';
let asked = 0;

/** @param {any} error */
const fail = (error) => setText(byId('letters-error'), `That did not work: ${error.message}.`);

/** @param {any} letter */
function showPayload(letter) {
  try {
    return JSON.stringify(JSON.parse(letter.payloadJson), null, 2);
  } catch {
    return letter.payloadJson || 'It is empty.';
  }
}

/** @param {Element} place @param {string} id */
async function loadLetter(place, id) {
  if (place.childElementCount) return;
  place.append(element('p', {class: 'muted'}, 'Looking…'));
  try {
    const {deadLetter} = await call('AdminService/GetDeadLetter', {deadLetterId: id}, appHeaders());
    place.replaceChildren(
      element('p', {class: 'muted'}, `What it says, ${count(deadLetter.payloadBytes)} bytes; texts are masked.`),
      element('pre', {tabindex: '0', role: 'region', 'aria-label': `What letter ${id} says`}, showPayload(deadLetter)));
  } catch (error) {
    place.replaceChildren();
    fail(error);
  }
}

/** @param {any} letter */
function notificationOf(letter) {
  if (!letter.notificationId) return '';
  const isOwn = !letter.appKey || letter.appKey === credentials()?.key;
  return isOwn ? element('a', {href: `#notification/${letter.notificationId}`}, letter.notificationId) :
    `${letter.notificationId}, of app ${letter.appKey}`;
}

/** @param {any} letter */
function letterItem(letter) {
  const facts = element('dl', {class: 'facts'});
  const payload = element('div', {});
  setFacts(facts, [['Died', `${time(letter.deadTime)}, ${ago(letter.deadTime)}`], ['Queue', letter.queue], ['Type', letter.type],
    ['Reason', letter.reason], ['Provider', letter.provider], ['Attempts', number(letter.retryCount) || ''],
    ['Replayed before', number(letter.replayCount) ? many(number(letter.replayCount), 'time') : ''], ['Notification', notificationOf(letter)],
    ['Delivery', letter.deliveryId], ['Trace', letter.traceparent]]);
  const details = element('details', {ontoggle: () => details.open && loadLetter(payload, letter.deadLetterId)},
    element('summary', {}, `What letter ${letter.deadLetterId} says`), payload);
  const replay = element('button', {type: 'button', class: 'small', onclick: () =>
    openReplay({appKey: filter.appKey, deadLetterIds: [letter.deadLetterId]}, [{lane: letter.lane, count: 1}])}, 'Replay…');
  return element('li', {class: 'panel'}, element('p', {class: 'letter-error'}, letter.error || letter.reason || 'No error was told.'),
    facts, element('div', {class: 'actions'}, details, replay));
}

async function loadLetters() {
  const turn = asked;
  try {
    const answer = await call('AdminService/ListDeadLetters', {filter: lettersFilter, pageSize: PAGE, pageToken: nextPage}, appHeaders());
    if (turn !== asked) return;
    const first = nextPage === '';
    nextPage = answer.nextPageToken ?? '';
    byId('letters').append(...(answer.deadLetters ?? []).map(letterItem));
    byId('more-letters').hidden = nextPage === '';
    if (first) announce(`${many(byId('letters').children.length, 'letter')} shown`);
  } catch (error) {
    fail(error);
  }
}

/** @param {Record<string, any>} which */
function openLetters(which) {
  lettersFilter = which;
  nextPage = '';
  asked += 1;
  byId('letters').replaceChildren();
  byId('letter-section').hidden = false;
  setText(byId('letters-of'), `${inWords(which)}; newest first`);
  byId('letters-title').focus();
  loadLetters();
}

/** @param {{which: Record<string, any>, groups: any[]}} row */
function groupRow({which, groups: alike}) {
  const [group] = alike;
  const times = (field) => alike.map((one) => one[field]).sort((a, b) => Date.parse(a) - Date.parse(b));
  const name = `${group.type || 'no type'} in ${group.queue}`;
  const actions = element('span', {class: 'actions'},
    element('button', {type: 'button', class: 'small', 'aria-label': `Show letters: ${name}`, onclick: () => openLetters(which)}, 'Show'),
    element('button', {type: 'button', class: 'small', 'aria-label': `Replay letters: ${name}`, onclick: () => openReplay(which, alike)}, 'Replay…'));
  const [oldest, newest] = [ago(times('oldestDeadTime')[0], 1), ago(times('newestDeadTime').at(-1), 1)];
  const letters = alike.reduce((sum, one) => sum + number(one.count), 0);
  return tableRow(byId('groups'), [count(letters), group.queue, group.type || '-', group.error || group.reason || '-', group.provider || '-',
    oldest === newest ? newest : `${oldest.replace(/ ago$/, '')} to ${newest}`, actions]);
}

async function loadGroups() {
  const turn = ++asked;
  setText(byId('letters-error'), '');
  try {
    const answer = await call('AdminService/SummarizeDeadLetters', {filter}, appHeaders());
    if (turn !== asked) return;
    groups = answer.groups ?? [];
    byId('groups').tBodies[0].replaceChildren(...rowsOf(filter, groups).map(groupRow));
    byId('groups').hidden = groups.length === 0;
    byId('replay-all').hidden = groups.length === 0;
    setText(byId('groups-total'), number(answer.total) ? many(number(answer.total), 'dead letter') : 'No dead letters.');
  } catch (error) {
    fail(error);
  }
}

/** @param {{query: URLSearchParams}} address */
export function showLetters({query}) {
  fillForm(query);
  filter = filterOf(query);
  byId('letter-section').hidden = true;
  loadGroups();
}

function onSubmit(event) {
  event.preventDefault();
  const address = addressOfForm();
  if (location.hash === address) loadGroups();
  else location.hash = address;
}

byId('letter-filter').addEventListener('submit', onSubmit);
byId('letter-filter').addEventListener('reset', () => { location.hash = '#letters'; });
byId('replay-all').addEventListener('click', () => openReplay(filter, groups));
byId('more-letters').addEventListener('click', loadLetters);
document.addEventListener('replayed', () => { if (!byId('view-letters').hidden) loadGroups(); });

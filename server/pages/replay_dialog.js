// Replaying dead letters: what would become of them, then why, then how far it is.
import {call, stream} from './connect.js';
import {announce, byId, element, setFacts, setText} from './dom.js';
import {count, length, many, number, rate, seconds, word} from './format.js';
import {inWords} from './letter_filter.js';
import {appHeaders, credentials} from './session.js';

const OPERATOR = 'carillon.operator';
const CRITICAL = ['payment', 'otp'];
const SKIPPED = {skippedExpired: 'expired', skippedEnded: 'ended otherwise by now', skippedPoison: 'replayed too often before',
  skippedUnroutable: 'of no known queue', skippedTaken: 'taken by somebody else'};

const dialog = byId('replay-dialog');
/** `told`: how many letters the row that was clicked showed. @type {{filter: Record<string, any>, replayId: string, told: number}} */
let task = {filter: {}, replayId: '', told: 0};
/** @type {AbortController|null} */
let running = null;
/** @type {AbortController|null} */
let forecasting = null;
let announced = 0;

/** @param {any} replay @returns {[string, string][]} */
export function countsOf(replay) {
  /** @type {[string, string][]} */
  const counts = [[replay.kind === 'purge' ? 'Deleted' : replay.kind === 'export' ? 'Shown' : 'Replayed', count(replay.replayed)]];
  for (const [field, words] of Object.entries(SKIPPED)) if (number(replay[field])) counts.push([`Left: ${words}`, count(replay[field])]);
  if (number(replay.diedAgain)) counts.push(['Died again', count(replay.diedAgain)]);
  return counts;
}

/** How many letters it has dealt with. @param {any} replay */
const dealtWith = (replay) => Object.keys(SKIPPED).reduce((sum, field) => sum + number(replay[field]), number(replay.replayed));

/** @param {boolean} isRunning */
function showPhase(isRunning) {
  byId('replay-fields').hidden = byId('replay-fields').disabled = isRunning;
  byId('replay-start').hidden = isRunning;
  byId('replay-stop').hidden = !isRunning;
  byId('replay-close').hidden = isRunning;
}

/** Changes nothing: asks what would be done. */
async function forecast() {
  const place = byId('replay-forecast');
  place.replaceChildren('Counting what would become of them…');
  forecasting?.abort();
  const mine = forecasting = new AbortController();
  try {
    let replay = {};
    const limit = Number(byId('replay-limit').value) || undefined;
    for await (const answer of stream('AdminService/ReplayDeadLetters', {filter: task.filter, dryRun: true, limit}, appHeaders(), mine.signal)) {
      replay = answer.replay ?? {};
    }
    if (mine !== forecasting) return;
    const facts = element('dl', {class: 'facts'});
    setFacts(facts, [['Match', count(replay.matched)], ...countsOf(replay).map(([name, value]) =>
      /** @type {[string, string]} */ ([name === 'Replayed' ? 'Would be replayed' : name, value]))]);
    place.replaceChildren(facts);
    const more = number(replay.matched) - task.told;
    if (more > 0) place.append(element('p', {class: 'notice warn'},
      `${many(more, 'letter')} more than the list showed: more have died, or no type or error was told to choose them by.`));
    byId('replay-start').disabled = number(replay.replayed) === 0;
    setText(byId('replay-start'), `Replay ${many(number(replay.replayed), 'letter')}`);
  } catch (error) {
    if (mine !== forecasting || error.code === 'canceled') return;
    place.replaceChildren();
    setText(byId('replay-error'), `They could not be counted: ${error.message}.`);
  }
}

/** @param {any} answer of ReplayDeadLetters */
function showProgress({replay = {}, rate: measured, remainingTime}) {
  const [done, matched] = [dealtWith(replay), number(replay.matched)];
  const isDone = replay.state === 'REPLAY_STATE_DONE';
  byId('replay-bar').max = Math.max(matched, 1);
  byId('replay-bar').value = isDone ? Math.max(matched, 1) : done;
  const remaining = isDone ? '' : remainingTime === undefined ? '' : `, ${length(seconds(remainingTime))} left`;
  setText(byId('replay-figure'), `${count(done)} of ${count(matched)}${measured ? `, ${rate(measured)}` : ''}${remaining}`);
  setFacts(byId('replay-counts'), countsOf(replay));
  const quarter = Math.floor((done / Math.max(matched, 1)) * 4);
  if (quarter > announced && !isDone) announce(`${quarter * 25} percent replayed`);
  announced = quarter;
}

/** @param {any} replay */
function showEnd(replay) {
  const isDone = replay.state === 'REPLAY_STATE_DONE';
  const words = isDone ? `Done: ${many(number(replay.replayed), 'letter')} replayed.` :
    `Stopped before its end: ${replay.detail || word(replay.state, 'REPLAY_STATE')}.`;
  byId('replay-forecast').replaceChildren(element('p', {class: `notice ${isDone ? 'good' : 'warn'}`}, words));
  task.replayId = isDone ? '' : replay.replayId ?? '';
  if (task.replayId) setText(byId('replay-start'), 'Go on with it');
  byId('replay-fields').hidden = byId('replay-fields').disabled = true;
  byId('replay-start').hidden = !task.replayId;
  byId(task.replayId ? 'replay-start' : 'replay-close').focus();
}

/** @returns {object} */
function request() {
  const always = {operator: byId('replay-operator').value.trim(), rate: Number(byId('replay-rate').value)};
  if (task.replayId) return {replayId: task.replayId, ...always};
  return {filter: task.filter, limit: Number(byId('replay-limit').value) || undefined, reason: byId('replay-reason').value.trim(), ...always};
}

async function run() {
  forecasting?.abort();
  running = new AbortController();
  setText(byId('replay-error'), '');
  showPhase(true);
  byId('replay-progress').hidden = false;
  byId('replay-stop').focus();
  /** @type {any} */
  let last = {state: 'REPLAY_STATE_INTERRUPTED', replayId: task.replayId, replayed: 0};
  try {
    for await (const answer of stream('AdminService/ReplayDeadLetters', request(), appHeaders(), running.signal)) {
      last = answer.replay ?? last;
      showProgress(answer);
    }
  } catch (error) {
    last = {...last, state: 'REPLAY_STATE_INTERRUPTED', detail: error.code === 'canceled' ? 'you stopped it' : error.message};
    if (error.code !== 'canceled') setText(byId('replay-error'), `It ended early: ${error.message}.`);
  }
  running = null;
  showPhase(false);
  showEnd(last);
  document.dispatchEvent(new Event('replayed'));
}

/** @param {boolean} isCritical */
function askFirst(isCritical) {
  const box = byId('replay-critical').querySelector('input');
  byId('replay-critical').hidden = !isCritical;
  box.required = isCritical;
  box.checked = false;
}

/** @param {string} title @param {string} which */
function reset(title, which) {
  announced = 0;
  setText(byId('replay-title'), title);
  setText(byId('replay-which'), which);
  setText(byId('replay-error'), '');
  setText(byId('replay-start'), 'Replay');
  byId('replay-forecast').replaceChildren();
  byId('replay-progress').hidden = true;
  askFirst(false);
  byId('replay-reason').value = '';
  byId('replay-reason').readOnly = byId('replay-limit').disabled = task.replayId !== '';
  byId('replay-limit').value = '';
  byId('replay-operator').value = sessionStorage.getItem(OPERATOR) ?? '';
  showPhase(false);
  byId('replay-start').disabled = false;
  dialog.showModal();
}

/** @param {{lane?: string}[]} groups */
const areCritical = (groups) => groups.some(({lane}) => CRITICAL.includes(lane ?? ''));

/** Letters that match. @param {Record<string, any>} filter @param {{lane?: string, count?: string|number}[]} groups of which lanes they are */
export function openReplay(filter, groups) {
  task = {filter, replayId: '', told: groups.reduce((sum, {count: letters}) => sum + number(letters), 0)};
  reset('Replay dead letters', inWords(filter));
  askFirst(areCritical(groups));
  byId('replay-start').disabled = true;
  byId('replay-reason').focus();
  forecast();
}

/** Whether payment or otp letters may be left of it: rather once too often. @param {any} replay */
async function mayBeCritical({appKey, filter = {}}) {
  // Its ages count from its begin, and its app is whose it was.
  const all = {...filter, newerThan: undefined, appKey: filter.appKey || (appKey === credentials()?.key ? undefined : '*')};
  try {
    const {groups = [], total} = await call('AdminService/SummarizeDeadLetters', {filter: all}, appHeaders());
    return areCritical(groups) || groups.reduce((sum, group) => sum + number(group.count), 0) < number(total);
  } catch {
    return true;
  }
}

/** One that did not come to its end. @param {any} replay */
export async function resumeReplay(replay) {
  task = {filter: replay.filter ?? {}, replayId: replay.replayId, told: 0};
  reset('Go on with a replay', inWords(replay.filter));
  byId('replay-reason').value = replay.reason ?? '';
  setText(byId('replay-start'), 'Go on with it');
  showProgress({replay});
  byId('replay-progress').hidden = false;
  byId('replay-start').disabled = true;
  byId('replay-operator').focus();
  forecasting?.abort();
  const mine = forecasting = new AbortController();
  const isCritical = await mayBeCritical(replay);
  if (mine.signal.aborted) return;
  askFirst(isCritical);
  byId('replay-start').disabled = false;
}

byId('replay-form').addEventListener('submit', (event) => {
  event.preventDefault();
  if (running) return;
  sessionStorage.setItem(OPERATOR, byId('replay-operator').value.trim());
  run();
});
byId('replay-limit').addEventListener('change', forecast);
byId('replay-stop').addEventListener('click', () => running?.abort());
byId('replay-close').addEventListener('click', () => dialog.close());
// Escape closes what does not run; what runs is stopped first.
dialog.addEventListener('cancel', (event) => { if (running) { event.preventDefault(); running.abort(); } });
dialog.addEventListener('close', () => forecasting?.abort());

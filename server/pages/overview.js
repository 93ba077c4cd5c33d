// Lanes, queues, the outbox and providers that are out: one answer of ListQueues.
import {announce, byId, element, keyedList, setAttribute, setState, setText, state, tableRow} from './dom.js';
import {DepthHistory, WINDOW} from './depth_history.js';
import {channel, count, length, many, number, rate, seconds, time} from './format.js';
import {depthGraph, sparkline} from './graph.js';

const history = new DepthHistory();
const graph = depthGraph();
let selected = '';
let chosen = false;
let headline = '';
/** @type {any} */
let newest = null;

const isHelper = (name) => /\.(dlq|retry\.\d+)$/.test(name);

/** Once seen in use a queue stays: rows that come and go can't be read. */
const used = new Set();
function isUsed(queue) {
  const now = number(queue.messages) + number(queue.retrying) + number(queue.dead) + number(queue.inRate) + number(queue.outRate) > 0;
  if (now || !queue.declared || history.of(queue.name).some(({value}) => value > 0)) used.add(queue.name);
  return used.has(queue.name);
}

/** What waits here is taken by nobody. @param {any} queue */
const isUnattended = (queue) => queue.lane && !isHelper(queue.name) && number(queue.messages) > 0 && number(queue.consumers) === 0;

/** @param {any} lane @returns {['good'|'warn'|'bad', string]} */
function laneState(lane) {
  if (lane.refused) return ['bad', 'refused at the door'];
  if (!lane.delayed) return ['good', 'on time'];
  return ['warn', lane.estimatedWait === undefined ? 'delayed, nothing moves' : `delayed, about ${length(seconds(lane.estimatedWait))}`];
}

/** A bar that says nothing the text beside it does not say. */
function meter() {
  const bar = element('span', {class: 'meter-fill'});
  return {node: element('span', {'class': 'meter', 'aria-hidden': 'true'}, bar), update(share) {
    bar.style.width = `${Math.min(share, 1) * 100}%`;
    setAttribute(bar, 'class', share >= 1 ? 'meter-fill bad' : share >= 0.7 ? 'meter-fill warn' : 'meter-fill');
  }};
}

/** @param {Element} cell @param {string} text a number that is quiet when it is 0 */
function setNumber(cell, text) {
  setText(cell, text);
  setAttribute(cell, 'class', /^(0|0\/s|-)$/.test(text) ? 'zero' : '');
}

/** @param {number|string} value @param {Element} cell a number worth a look if it is not 0 */
function setTrouble(cell, value) {
  setText(cell, count(value));
  setAttribute(cell, 'class', number(value) > 0 ? 'trouble' : 'zero');
}

/** Leads to the letters, if there are any. @param {Element} link @param {any} amount @param {string} where as in lane=otp */
function setDead(link, amount, where) {
  setTrouble(link, amount);
  if (number(amount) === 0) return link.removeAttribute('href');
  setAttribute(link, 'href', `#letters?${where}`);
  setAttribute(link, 'aria-label', `${many(number(amount), 'dead letter')}, ${where.replace('=', ' ')}`);
}

function laneRow(lane) {
  const parts = Object.fromEntries(['state', 'oldest', 'in', 'out', 'backlog', 'retrying'].map((name) => [name, element('span')]));
  const dead = element('a');
  const [bar, spark] = [meter(), sparkline(`Handled per second in ${lane.lane}`)];
  const oldest = element('span', {class: 'measured'}, parts.oldest, bar.node);
  const node = tableRow(byId('lanes'),
    [lane.lane, parts.state, oldest, parts.in, parts.out, spark.node, parts.backlog, parts.retrying, dead]);
  return {node, update(now) {
    const age = seconds(now.oldestAge) ?? 0;
    const objective = seconds(now.objective);
    setState(parts.state, ...laneState(now));
    setText(parts.oldest, `${now.oldestAge === undefined ? 'none' : length(age)} of ${length(objective)}`);
    bar.update(objective ? age / objective : 0);
    setNumber(parts.in, rate(now.inRate));
    setNumber(parts.out, rate(now.outRate));
    spark.update(history.of(`${now.lane}/out`), history.latest - WINDOW / 3, history.latest);
    setNumber(parts.backlog, count(now.backlog));
    setTrouble(parts.retrying, now.retrying);
    setDead(dead, now.dead, `lane=${now.lane}`);
  }};
}

function queueRow(queue) {
  const facts = Object.fromEntries(['depth', 'oldest', 'in', 'out', 'consumers', 'retrying'].map((name) => [name, element('span')]));
  const dead = element('a');
  const spark = sparkline(`Messages in ${queue.name}`);
  const name = element('button', {type: 'button', class: 'link', onclick: () => {
    [selected, chosen] = [queue.name, true];
    render();
  }}, queue.name);
  const node = tableRow(byId('queues'), [name, spark.node, facts.depth, facts.oldest, facts.in, facts.out, facts.consumers, facts.retrying, dead]);
  node.dataset.queue = queue.name;
  return {node, update(now) {
    setAttribute(name, 'aria-pressed', String(now.name === selected));
    node.classList.toggle('selected', now.name === selected);
    spark.update(history.of(now.name), history.latest - WINDOW, history.latest);
    setNumber(facts.depth, now.declared ? count(now.messages) : 'not there');
    setNumber(facts.oldest, length(seconds(now.oldestAge)));
    setNumber(facts.in, isHelper(now.name) ? '-' : rate(now.inRate));
    setNumber(facts.out, isHelper(now.name) ? '-' : rate(now.outRate));
    setText(facts.consumers, count(now.consumers));
    setAttribute(facts.consumers, 'class', isUnattended(now) ? 'trouble' : '');
    setTrouble(facts.retrying, now.retrying);
    setDead(dead, now.dead, `queue=${now.name}`);
  }};
}

function outboxRow(lane) {
  const [rows, deferred, oldest, bar] = [element('span'), element('span'), element('span'), meter()];
  const node = tableRow(byId('outbox'), [lane.lane, element('span', {class: 'measured'}, rows, bar.node), deferred, oldest]);
  return {node, update(now) {
    setText(rows, number(now.bound) ? `${count(now.rows)} of ${count(now.bound)}` : count(now.rows));
    bar.update(number(now.bound) ? number(now.rows) / number(now.bound) : 0);
    setTrouble(deferred, now.deferred);
    setText(oldest, length(seconds(now.oldestAge)));
  }};
}

function breakerRow(breaker) {
  const [what, detail] = [element('p'), element('p', {class: 'muted'})];
  const mark = state('bad', '');
  return {node: element('li', {class: 'panel breaker'}, mark, element('div', {}, what, detail)), update({health = {}, ...now}) {
    const isHalfOpen = (health.breaker ?? '').endsWith('HALF_OPEN');
    setState(mark, isHalfOpen ? 'warn' : 'bad', health.misconfigured ? 'misconfigured' : isHalfOpen ? 'being probed' : 'out');
    setText(what, `${now.provider}, ${channel(now.channel)} for ${health.lane ?? 'all lanes'}, of app ${now.appKey}`);
    setText(detail, `since ${time(health.since)}${health.retryTime ? `, next probe at ${time(health.retryTime)}` : ''}. ${health.error ?? ''}`);
  }};
}

const lists = {
  lanes: keyedList(byId('lanes').tBodies[0], (lane) => lane.lane, laneRow),
  queues: keyedList(byId('queues').tBodies[0], (queue) => queue.name, queueRow),
  outbox: keyedList(byId('outbox').tBodies[0], (lane) => lane.lane, outboxRow),
  breakers: keyedList(byId('breakers'), (breaker) => [breaker.appKey, breaker.channel, breaker.provider, breaker.health?.lane].join('/'), breakerRow),
};

/** What somebody who was woken up wants to know first. @param {any} answer */
function summary({lanes = [], queues = [], breakers = []}) {
  const parts = [];
  const unattended = queues.filter(isUnattended).map(({name}) => name);
  const isBlind = queues.length > 0 && queues.every(({declared}) => !declared);
  if (isBlind) parts.push('the server can’t see the queues of the broker');
  for (const lane of lanes.filter(({refused}) => refused)) parts.push(`${lane.lane} is refused at the door`);
  for (const lane of lanes.filter(({delayed, refused}) => delayed && !refused)) parts.push(`${lane.lane} is delayed`);
  if (unattended.length) parts.push(`no worker takes ${unattended.slice(0, 3).join(', ')}${unattended.length > 3 ? ', ...' : ''}`);
  if (breakers.length) parts.push(`${many(breakers.length, 'provider is', 'providers are')} out`);
  const kind = isBlind || lanes.some(({refused}) => refused) ? 'bad' : parts.length ? 'warn' : 'good';
  return {kind, text: parts.length ? parts.join('; ') : 'All lanes are on time'};
}

function renderHeadline() {
  const {kind, text} = summary(newest);
  const sentence = `${text[0].toUpperCase()}${text.slice(1)}.`;
  setAttribute(byId('headline'), 'class', `headline state ${kind}`);
  setText(byId('headline'), sentence);
  byId('headline').removeAttribute('aria-busy');
  if (headline !== '' && sentence !== headline) announce(sentence);
  headline = sentence;
}

function renderDepth(queues) {
  if (!chosen) selected = queues.reduce((deepest, queue) => number(queue.messages) > number(deepest.messages) ? queue : deepest, queues[0])?.name ?? '';
  // The page's own choice stays with the reader until he makes one.
  chosen ||= newest.queues?.some((queue) => queue.name === selected && number(queue.messages) > 0) ?? false;
  const queue = newest.queues?.find(({name}) => name === selected);
  byId('depth').hidden = !queue;
  if (!queue) return;
  setText(byId('depth-name'), queue.name);
  setText(byId('depth-now'), `${many(number(queue.messages), 'message')}, ${rate(queue.inRate)} in, ${rate(queue.outRate)} out`);
  graph.update(queue.name, history.of(queue.name), history.latest - WINDOW, history.latest);
}

function render() {
  if (!newest) return;
  const {lanes = [], queues = [], outbox = [], breakers = []} = newest;
  const eligible = queues.filter(({name}) => byId('with-helpers').checked || !isHelper(name));
  const shown = eligible.filter((queue) => isUsed(queue) || !byId('only-busy').checked);
  renderHeadline();
  renderDepth(queues.filter(({name}) => !isHelper(name)));
  lists.lanes(lanes);
  lists.queues(shown);
  lists.outbox(outbox);
  lists.breakers(breakers);
  byId('queues').hidden = shown.length === 0;
  byId('quiet-queues').hidden = shown.length === eligible.length;
  setText(byId('quiet-queues'), `${many(eligible.length - shown.length, 'queue')} had nothing in the last 15 minutes.`);
  byId('no-breakers').hidden = breakers.length > 0;
}

/** What to ask ListQueues for next. */
export const overviewRequest = () => history.hasGap ? {history: `${WINDOW / 1000}s`} : {};

/** @param {any} answer of ListQueues */
export function showOverview(answer) {
  newest = answer;
  history.add(answer);
  render();
}

byId('depth-graph').append(graph.node);
for (const id of ['only-busy', 'with-helpers']) byId(id).addEventListener('change', render);

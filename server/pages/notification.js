// What became of one notification, and why. Follows it until it has ended.
import {call, stream} from './connect.js';
import {announce, byId, element, setFacts, setText, state} from './dom.js';
import {ago, channel, length, many, number, seconds, time, word} from './format.js';
import {appHeaders} from './session.js';

const KIND = {'delivered': 'good', 'sent': 'good', 'passed': 'good', 'dead': 'bad', 'undelivered': 'bad', 'expired': 'warn', 'held': 'warn', 'retried': 'warn'};
const AGAIN = 2000;

/** @type {AbortController|null} */
let watching = null;
let shown = '';
let seen = '';

const chip = (name) => state(KIND[name] ?? 'idle', name);

/** @param {any} entry a TimelineEntry */
function timelineItem(entry) {
  return element('li', {}, chip(word(entry.state, 'STATE')), element('span', {class: 'muted when'}, entry.time ? time(entry.time) : ''),
    entry.detail ? element('p', {}, entry.detail) : null,
    number(entry.attempt) ? element('p', {class: 'muted'}, many(number(entry.attempt), 'failed attempt')) : null);
}

/** @param {any} attempt a DeliveryAttempt */
function attemptItem(attempt) {
  const words = [attempt.outcome, attempt.code, attempt.error].filter(Boolean).join(' · ');
  return element('li', {}, element('span', {class: 'when muted'}, `${time(attempt.time)}, ${attempt.provider}, ${number(attempt.latencyMs)} ms`),
    element('p', {}, words));
}

/** @param {any} delivery */
function deliveryPanel(delivery) {
  const facts = element('dl', {class: 'facts'});
  setFacts(facts, [['Provider', delivery.provider], ['Its id', delivery.providerMessageId], ['Device', delivery.deviceId],
    ['Looked at again', delivery.holdUntil ? time(delivery.holdUntil) : ''], ['Ended', delivery.finishTime ? time(delivery.finishTime) : '']]);
  const attempts = delivery.attempts ?? [];
  return element('section', {class: 'panel'},
    element('h3', {}, channel(delivery.channel), ' ', chip(word(delivery.state, 'DELIVERY_STATE'))),
    delivery.detail ? element('p', {}, delivery.detail) : null, facts,
    attempts.length ? element('details', {open: attempts.length < 4}, element('summary', {}, many(attempts.length, 'attempt')),
      element('ol', {class: 'plain attempts'}, ...attempts.map(attemptItem))) : null);
}

/** @param {any} step an ExplainedStep */
function stepItem(step) {
  return element('li', {}, element('span', {class: 'gate'}, word(step.gate)), chip(word(step.outcome)),
    element('span', {class: 'muted when'}, step.time ? time(step.time) : ''), element('p', {}, step.detail ?? ''));
}

const stepList = (steps) => element('ol', {class: 'plain steps'}, ...steps.map(stepItem));

/** @param {any} delay */
function delayWords({queue, oldestAge, estimatedTime}) {
  const when = estimatedTime ? `This one is expected to be taken about ${time(estimatedTime)}.` : 'Nothing moves there at the moment.';
  return `Delayed: the oldest in ${queue} has waited for ${length(seconds(oldestAge))}. ${when}`;
}

/** @param {any} notification */
function show(notification) {
  seen = JSON.stringify(notification);
  const name = word(notification.state, 'STATE');
  byId('notification-title').replaceChildren(notification.type ?? '', ' ', chip(name));
  byId('notification-delay').hidden = !notification.delay;
  if (notification.delay) setText(byId('notification-delay'), delayWords(notification.delay));
  setFacts(byId('notification-facts'), [['To', notification.userId], ['From', notification.actorId], ['About', notification.objectId],
    ['Channels', (notification.channels ?? []).map(channel).join(', ')], ['Accepted', `${time(notification.createTime)}, ${ago(notification.createTime)}`],
    ['Expires', notification.expireTime ? time(notification.expireTime) : 'never'], ['Idempotency key', notification.idempotencyKey],
    ['Id', notification.notificationId]]);
  byId('timeline').replaceChildren(...(notification.timeline ?? []).map(timelineItem));
  const deliveries = notification.deliveries ?? [];
  byId('deliveries').replaceChildren(...(deliveries.length ? deliveries.map(deliveryPanel) : [element('p', {class: 'muted'}, 'None: it is for the feed alone.')]));
  byId('notification').hidden = false;
}

/** @param {string} id */
async function explain(id) {
  try {
    const {steps = [], channels = []} = await call('NotificationService/ExplainNotification', {notificationId: id}, appHeaders());
    if (id !== shown) return;
    byId('why').replaceChildren(...(steps.length ? [stepList(steps)] : []), ...channels.map((one) =>
      element('section', {}, element('h3', {}, channel(one.channel), one.deviceId ? ` ${one.deviceId}` : '', ' ', chip(word(one.outcome))), stepList(one.steps ?? []))));
  } catch (error) {
    byId('why').replaceChildren(element('p', {class: 'error'}, `It could not be explained: ${error.message}.`));
  }
}

/** What is known so far; then whatever changes, over a connection that is made anew when it breaks. @param {string} id */
async function watch(id) {
  const mine = watching = new AbortController();
  let last = '';
  while (!mine.signal.aborted) {
    try {
      for await (const {notification} of stream('NotificationService/WatchNotification', {notificationId: id}, appHeaders(), mine.signal)) {
        setText(byId('notification-error'), '');
        const name = word(notification.state, 'STATE');
        if (JSON.stringify(notification) !== seen) {
          show(notification);
          explain(id);
        }
        if (last && name !== last) announce(`The notification is ${name} now`);
        last = name;
      }
      return;
    } catch (error) {
      if (mine.signal.aborted || !['unavailable', 'deadline_exceeded', 'resource_exhausted'].includes(error.code)) return;
      setText(byId('notification-error'), `What changes is not shown at the moment: ${error.message}.`);
      await new Promise((resolve) => setTimeout(resolve, AGAIN));
    }
  }
}

export function leaveNotification() {
  watching?.abort();
  watching = null;
}

/** @param {{id: string}} address */
export async function showNotification({id}) {
  leaveNotification();
  shown = id;
  byId('notification').hidden = true;
  byId('notification-id').value = id;
  setText(byId('notification-error'), '');
  if (!id) return;
  try {
    const {notification} = await call('NotificationService/GetNotification', {notificationId: id}, appHeaders());
    if (id !== shown) return;
    show(notification);
    explain(id);
    byId('notification-title').focus();
    watch(id);
  } catch (error) {
    const unknown = error.code === 'not_found' || error.code === 'invalid_argument';
    setText(byId('notification-error'), unknown ? `No notification of this app has the id ${id}.` : `That did not work: ${error.message}.`);
  }
}

byId('find').addEventListener('submit', (event) => {
  event.preventDefault();
  const address = `#notification/${encodeURIComponent(byId('notification-id').value.trim())}`;
  if (location.hash === address) showNotification({id: byId('notification-id').value.trim()});
  else location.hash = address;
});

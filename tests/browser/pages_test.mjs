// The pages of a real server, in a real browser, as people use them.
import assert from 'node:assert/strict';
import {after, before, describe, it} from 'node:test';

import {assertAccessible, assertFits, assertNoFaults, Browser} from './browser.mjs';
import {Cable} from './cable.mjs';
import {System} from './system.mjs';

const WORDS = '5.7.1 <img src=x onerror="window.faults.push(1)"> refused';
const OUTAGE = 10_000;

const system = new System();
let browser;

const users = (prefix, amount) => Array.from({length: amount}, (_, index) => `${prefix}-${index}`);

async function signIn(context, view = '', look = {}) {
  const page = await browser.open(context, `${system.url}/ops${view}`, look);
  await page.fill('#app-key', system.key);
  await page.fill('#app-secret', system.secret);
  await page.click('#sign-in-form button');
  await page.waitForSelector('#headline:not([aria-busy])', {state: 'attached'});
  return page;
}

/** Notifications that died of what their provider said. */
async function bury(prefix, amount, words = WORDS) {
  const count = async () => Number((await system.call('AdminService/SummarizeDeadLetters', {filter: {queue: 'social.email'}})).total ?? 0);
  const all = (await count()) + amount;
  await system.refuse(words);
  const people = users(prefix, amount);
  await Promise.all(people.map((userId) => system.call('RecipientService/UpdateRecipient',
    {recipient: {userId, email: `${userId}@example.org`}})));
  const ids = await system.send('comment', people, {channels: ['CHANNEL_EMAIL'], data: {actor_name: 'Ana', excerpt: 'x'}});
  assert.ok(await system.eventually(async () => (await count()) >= all), 'they have not died');
  await system.refuse(null);
  return ids;
}

before(async () => {
  await system.start();
  browser = await Browser.start();
});
after(async () => {
  await browser?.stop();
  await system.remove();
});
// Side by side: most of their time is waiting.
describe('the pages', {concurrency: 3}, () => {
  it('a queue’s graph moves while its worker is away, and back', async (context) => {
    await system.stack('stop', 'worker-marketing');
    const page = await signIn(context);
    await page.uncheck('#only-busy');
    await page.click('#queues tr[data-queue="marketing"] button');
    const graph = page.locator('#depth-graph svg');
    const line = () => graph.locator('.stroke').getAttribute('d');
    const before = await line();
    await system.send('marketing.discount', users('reader', 400));
    const told = (what) => page.waitForFunction((what) => new RegExp(what).test(document.querySelector('#depth-graph svg').ariaLabel), what);
    await told('now [1-9]');
    assert.notEqual(await line(), before);
    assert.match(await page.locator('tr[data-queue="marketing"] td[data-label="Depth"]').innerText(), /^[1-9]/);
    assert.match(await page.innerText('#headline'), /No worker takes marketing/);
    await system.stack('start', 'worker-marketing');
    await told('now 0, highest [1-9]');
    await assertNoFaults(page);
  });

  it('letters are looked at, replayed to the end, and their notification is followed', async (context) => {
    const [id] = await bury('dead', 40);
    // An error that contains the other one: a group of its own, which a replay of the first leaves.
    await bury('late', 3, `${WORDS} today`);
    const page = await signIn(context, '#letters?queue=social.email');
    await page.waitForSelector('#groups tbody tr');
    assert.match(await page.innerText('#groups tbody'), /<img src=x onerror/);
    await page.click('#groups tbody tr:nth-child(1) button:has-text("Show")');
    await page.click('#letters li:first-child summary');
    assert.match(await page.innerText('#letters pre'), /\*\*\*/);
    await assertAccessible(page);

    await page.click('#replay-all');
    await page.waitForSelector('#replay-start:has-text("Replay 43 letters")');
    await page.click('#replay-close');
    await page.click('#groups tbody tr:nth-child(1) button:has-text("Replay")');
    await page.waitForSelector('#replay-start:has-text("Replay 40 letters")');
    assert.equal(await page.locator('#replay-forecast .warn').count(), 0);
    await assertAccessible(page);
    await page.fill('#replay-reason', 'the provider is back');
    await page.fill('#replay-operator', 'kim');
    await page.fill('#replay-rate', '5');
    await page.click('#replay-start');
    await page.waitForFunction(() => { const {value, max} = document.querySelector('#replay-bar'); return value > 0 && value < max; });
    assert.match(await page.innerText('#replay-figure'), /of 40.*left/);
    await page.click('#replay-stop');
    await page.waitForSelector('#replay-forecast:has-text("you stopped it")');
    await page.click('#replay-close');
    const state = async () => (await system.call('AdminService/ListReplays', {})).replays[0].state;
    assert.ok(await system.eventually(async () => (await state()) === 'REPLAY_STATE_INTERRUPTED'), 'it goes on');

    await page.click('nav a[href="#replays"]');
    await page.route('**/SummarizeDeadLetters', (route) => route.fulfill({json: {groups: [{lane: 'otp', count: '1'}], total: '1'}}), {times: 1});
    await page.click('#replays tbody tr:has-text("kim: the provider is back") button:has-text("Go on")');
    assert.equal(await page.inputValue('#replay-operator'), 'kim');
    await page.fill('#replay-operator', 'lee');
    await page.fill('#replay-rate', '100');
    await page.click('#replay-start');
    assert.ok(await page.isVisible('#replay-critical:has(input:invalid)'), 'nobody was asked about otp letters');
    await assertAccessible(page);
    await page.check('#replay-critical input');
    await page.click('#replay-start');
    await page.waitForSelector('#replay-forecast:has-text("Done: 40 letters replayed.")');
    await page.click('#replay-close');
    await page.waitForSelector('#replays tbody tr:has-text("kim, lee: the provider is back")');
    assert.match(await page.innerText('#replays tbody tr'), /Replayed: 40[^]*done/);

    await page.click('nav a[href="#notification"]');
    await page.fill('#notification-id', id);
    await page.click('#find button');
    await page.waitForSelector('#deliveries section:has-text("sent")');
    assert.match(await page.innerText('#timeline'), /accepted[^]*delivered/);
    assert.match(await page.innerText('#deliveries'), /permanent[^]*<img src=x[^]*accepted/);
    await page.waitForSelector('#why .gate:has-text("door")');
    await assertAccessible(page);
    await assertNoFaults(page);
  });

  it('everything is reached by the keyboard alone', async (context) => {
    const page = await browser.open(context, `${system.url}/ops`);
    await page.keyboard.type(system.key);
    await page.keyboard.press('Tab');
    await page.keyboard.type(system.secret);
    await page.keyboard.press('Enter');
    await page.waitForSelector('#headline:not([aria-busy])');
    const focused = () => page.evaluate(() => document.activeElement.textContent.trim() || document.activeElement.id);
    const reached = [];
    await page.evaluate(() => document.querySelector('.skip').focus());
    for (let step = 0; step < 9; step += 1) {
      reached.push(await focused());
      await page.keyboard.press('Tab');
    }
    for (const name of ['Overview', 'Replays', 'Notification', 'Sign out', 'only-busy']) assert.ok(reached.includes(name), `${name} in ${reached}`);
    await page.locator('nav a[href="#letters"]').focus();
    await page.keyboard.press('Enter');
    await page.waitForFunction(() => document.activeElement.textContent === 'Dead letters');
    await assertNoFaults(page);
  });

  it('nothing runs off a phone, dark or light', async (context) => {
    for (const look of [{width: 360, height: 740}, {width: 390, height: 844, dark: true}]) {
      const page = await signIn(context, '', look);
      for (const view of ['letters', 'replays', 'notification', 'overview']) {
        await page.click(`nav a[href="#${view}"]`);
        await page.waitForFunction((view) => !document.querySelector(`#view-${view}`).hidden, view);
        await assertFits(page);
        await assertAccessible(page);
      }
      await assertNoFaults(page);
    }
  });

  it('it tells since when the server can’t be reached, and comes back', async (context) => {
    const cable = await Cable.lay(context, system.url);
    const page = await browser.open(context, `${cable.url}/ops`);
    await page.fill('#app-key', system.key);
    await page.fill('#app-secret', system.secret);
    await page.click('#sign-in-form button');
    await page.waitForSelector('#reachability:has-text("As of")');
    await cable.cut();
    await page.waitForSelector('#reachability:has-text("Not reachable since")');
    await cable.mend();
    await page.waitForSelector('#reachability:has-text("As of")');
    await assertNoFaults(page, /ERR_(CONNECTION|EMPTY)/);
  });

  it('a feed without its connection for ten seconds misses nothing', async (context) => {
    const cable = await Cable.lay(context, system.url);
    const page = await browser.open(context, `${cable.url}/feed`);
    await page.fill('#user', 'reader');
    await page.fill('#app-form [name="username"]', system.key);
    await page.fill('#app-form [name="password"]', system.secret);
    await page.click('#app-form button');
    await page.waitForSelector('#connection:has-text("Live")');
    const send = (amount) => system.send('comment', Array(amount).fill('reader'), {data: {actor_name: WORDS, excerpt: 'x'}});
    const sent = await send(3);
    const shown = () => page.$$eval('#items li', (items) => items.map(({dataset}) => dataset.id));
    await page.waitForSelector('#items li:nth-child(3)');

    await cable.cut();
    await page.waitForSelector('#connection:has-text("Connection lost")');
    const end = Date.now() + OUTAGE;
    for (let batch = 0; batch < 4; batch += 1) {
      sent.push(...(await send(3)));
      await page.waitForTimeout((end - Date.now()) / (4 - batch));
    }
    assert.equal((await shown()).length, 3);
    await cable.mend();
    await page.waitForSelector('#items li:nth-child(15)');
    await page.waitForSelector('#feed-notice:has-text("12 changes came meanwhile")');
    assert.deepEqual((await shown()).sort(), sent.sort());
    assert.equal(await page.innerText('#unread'), '15');
    assert.match(await page.title(), /^\(15\)/);

    await page.click('#items li:first-child button');
    await page.waitForSelector('#unread:has-text("14")');
    await page.click('#mark-all');
    await page.waitForSelector('#unread:has-text("0")');
    await page.setViewportSize({width: 360, height: 740});
    await assertFits(page);
    await assertAccessible(page);
    await assertNoFaults(page, /ERR_(CONNECTION|EMPTY|INCOMPLETE)/);
  });
});

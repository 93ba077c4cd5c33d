#!/usr/bin/env node
// Follows a feed with an EventSource, as a page does, through a proxy that is cut for some seconds while more is sent.
// Arguments: the HTTP port's address, a user. Environment: CARILLON_APP_KEY, CARILLON_APP_SECRET. Prints {seqs, opens,
// cut_ms, unresumable, refused}.

import { connect, createServer } from 'node:net';
import { once } from 'node:events';

import { EventSource } from 'eventsource';

const CUT_MS = 3000;
const [address, user] = process.argv.slice(2);
const [host, port] = address.split(':');

/** One call of the API, in JSON. */
async function call(method, request) {
  const answer = await fetch(`http://${address}/carillon.v1.${method}`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      'x-app-key': process.env.CARILLON_APP_KEY,
      'x-app-secret': process.env.CARILLON_APP_SECRET,
    },
    body: JSON.stringify(request),
  });
  if (!answer.ok) throw new Error(`${method}: ${await answer.text()}`);
  return answer.json();
}

async function send(count) {
  for (let i = 0; i < count; i += 1) {
    await call('NotificationService/SendNotification', { type: 'like', userId: user, actorId: 'bob', objectId: 'p' });
  }
}

/** A proxy that can be cut: what goes through it is lost, and who comes is turned away. */
async function startProxy() {
  const sockets = new Set();
  let isCut = false;
  const server = createServer((client) => {
    if (isCut) return client.destroy();
    const upstream = connect(Number(port), host);
    for (const [from, to] of [[client, upstream], [upstream, client]]) {
      sockets.add(from);
      from.on('error', () => to.destroy()).on('close', () => { sockets.delete(from); to.destroy(); });
      from.pipe(to);
    }
    return undefined;
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const setCut = (value) => {
    isCut = value;
    if (isCut) sockets.forEach((socket) => socket.destroy());
  };
  return { origin: `http://127.0.0.1:${server.address().port}`, setCut, close: () => { setCut(true); server.close(); } };
}

const { token } = await call('RecipientService/IssueUserToken', { userId: user });
const proxy = await startProxy();
const events = `${proxy.origin}/v1/feed/events?access_token=${token}`;

const seqs = [];
let opens = 0;
let wake = () => {};
const source = new EventSource(events);
source.addEventListener('open', () => { opens += 1; wake(); });
source.addEventListener('item', ({ data, lastEventId }) => {
  const { seq, item } = JSON.parse(data);
  if (seq !== lastEventId || item.seq !== seq) throw new Error(`${seq} came as ${lastEventId}`);
  seqs.push(Number(seq));
  wake();
});
const until = async (condition) => { while (!condition()) await new Promise((resolve) => { wake = resolve; }); };

await until(() => opens === 1);
await send(5);
await until(() => seqs.length === 5);
proxy.setCut(true);
const cutAt = Date.now();
await Promise.all([send(20), new Promise((resolve) => { setTimeout(resolve, CUT_MS); })]);
const seenWhileCut = seqs.length - 5;
proxy.setCut(false);
const cutMs = Date.now() - cutAt;
await until(() => seqs.length >= 25);
await send(5);
await until(() => seqs.length >= 30);
source.close();

/** What a source is told that begins after a seq that there is not. */
const unresumable = await new Promise((resolve) => {
  const lost = new EventSource(`${events}&after_seq=1000`);
  lost.addEventListener('resume_required', ({ data }) => { lost.close(); resolve(JSON.parse(data)); });
});
/** A source without leave does not try again. */
const refused = await new Promise((resolve) => {
  const stranger = new EventSource(`${proxy.origin}/v1/feed/events?access_token=none`);
  stranger.addEventListener('error', ({ code }) => resolve({ code, is_closed: stranger.readyState === EventSource.CLOSED }));
});
proxy.close();
console.log(JSON.stringify({ seqs, opens, cut_ms: cutMs, seen_while_cut: seenWhileCut, unresumable, refused }));

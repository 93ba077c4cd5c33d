#!/usr/bin/env node
// Calls the HTTP port with the client that browsers have: connect-web, on fetch. Arguments: the port's address, a
// descriptor set of the API, a user. Environment: CARILLON_APP_KEY, CARILLON_APP_SECRET. Prints what it got, by JSON and
// by protobuf: {json, binary}, each {state, type, seqs, missing, refused, watched}.

import { readFileSync } from 'node:fs';

import { createFileRegistry, fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-web';

const [address, descriptors, user] = process.argv.slice(2);
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(descriptors)));

const withCredentials = (next) => (request) => {
  request.header.set('x-app-key', process.env.CARILLON_APP_KEY);
  request.header.set('x-app-secret', process.env.CARILLON_APP_SECRET);
  return next(request);
};

/** The error of a call that has to fail: its code, reason and fields. */
async function errorOf(call) {
  try {
    await call;
  } catch (error) {
    const { code, rawMessage } = ConnectError.from(error);
    const [info] = error.findDetails(registry.getMessage('google.rpc.ErrorInfo'));
    const [bad] = error.findDetails(registry.getMessage('google.rpc.BadRequest'));
    const fields = bad?.fieldViolations.map(({ field }) => field);
    return { code: Code[code], message: rawMessage, reason: info?.reason, fields };
  }
  throw new Error('it did not fail');
}

/** The seqs of a feed's first events, then the stream is left. */
async function seqsOf(feed, userId, count) {
  const leave = new AbortController();
  const seqs = [];
  for await (const event of feed.subscribe({ userId }, { signal: leave.signal })) {
    if (event.event.case === 'item') seqs.push(Number(event.seq));
    if (seqs.length === count) break;
  }
  leave.abort();
  return seqs;
}

async function session(useBinaryFormat, userId) {
  const transport = createConnectTransport({
    baseUrl: `http://${address}`, useBinaryFormat, interceptors: [withCredentials], defaultTimeoutMs: 20_000,
  });
  const client = (service) => createClient(registry.getService(`carillon.v1.${service}`), transport);
  const notifications = client('NotificationService');
  const feed = client('FeedService');
  const data = { actor_name: 'Bob', emoji: '🔔', depth: { list: [1, null, true] } };
  const send = () => notifications.sendNotification({ type: 'like', userId, actorId: 'bob', objectId: 'post-1', data });
  const { notification } = await send();
  await send();
  const seqs = await seqsOf(feed, userId, 2);
  const got = await notifications.getNotification({ notificationId: notification.notificationId });
  const watched = [];
  for await (const { notification: seen } of notifications.watchNotification({
    notificationId: notification.notificationId })) {
    watched.push(seen.state);
  }
  return {
    state: got.notification.state,
    data: got.notification.data,
    seqs,
    watched,
    missing: await errorOf(notifications.getNotification({ notificationId: '01890000-0000-7000-8000-000000000000' })),
    refused: await errorOf(notifications.sendNotification({ type: 'like' })),
    stream: await errorOf(seqsOf(feed, '', 1)),
  };
}

console.log(JSON.stringify({ json: await session(false, `${user}-json`), binary: await session(true, `${user}-binary`) }));

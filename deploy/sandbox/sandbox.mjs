// Puts the providers together and onto their ports.

import { Apns } from './apns.mjs';
import { Callbacks } from './callbacks.mjs';
import { Control } from './control.mjs';
import { Fcm } from './fcm.mjs';
import { AccessTokens, FcmToken } from './google_tokens.mjs';
import { HttpDoor } from './http_door.mjs';
import { Identity } from './identity.mjs';
import { Inbox } from './inbox.mjs';
import { Listener } from './listener.mjs';
import { Scripts } from './scripts.mjs';
import { SendGrid } from './sendgrid.mjs';
import { Smtp } from './smtp.mjs';
import { Twilio, TwilioList } from './twilio.mjs';
import { Vonage } from './vonage.mjs';
import { Webhook } from './webhook.mjs';

const PROVIDERS = ['smtp', 'sendgrid', 'twilio', 'vonage', 'apns', 'fcm', 'fcm_token', 'webhook'];

// Starts everything and resolves to the ports: {http, smtp, apns, control}.
// `ports` has the wanted ones by the same names, 0 for any.
export async function startSandbox({ directory, ports, keep, webhookSecret }) {
  const identity = new Identity(directory);
  const { publicKey, secret } = identity.accountKeys();
  const inbox = new Inbox(PROVIDERS, keep);
  const scripts = new Scripts([...PROVIDERS, 'twilio_list'], (name) =>
    ({ smtp: listeners.smtp, apns: listeners.apns })[name]?.setOpen(!scripts.refuses(name)),
  );
  const callbacks = new Callbacks();
  const tokens = new AccessTokens(secret);
  const smtp = new Smtp(inbox, scripts, identity);
  const apns = new Apns(inbox, scripts, identity);
  const overHttp = [
    new SendGrid(inbox),
    new Twilio(inbox, scripts, callbacks),
    new TwilioList(inbox),
    new Vonage(inbox, scripts, callbacks),
    new FcmToken(inbox, identity, publicKey, tokens),
    new Fcm(inbox, tokens),
    new Webhook(inbox, webhookSecret),
  ];
  const describers = new Map([smtp, apns, ...overHttp].map((provider) => [provider.name, provider]));
  const started = Date.now();
  const health = () => ({
    uptime_seconds: Math.floor((Date.now() - started) / 1000),
    ports: portsOf(listeners),
    callbacks: callbacks.counts,
  });
  const listeners = {
    http: new Listener(new HttpDoor(overHttp, scripts).server),
    smtp: new Listener(smtp.server, () => smtp.disconnectAll()),
    apns: new Listener(apns.server, () => apns.disconnectAll()),
    control: new Listener(new Control(inbox, scripts, describers, health).server),
  };
  // The control port last: when it answers, everything does.
  for (const [name, listener] of Object.entries(listeners)) {
    await listener.listen(ports[name]);
    if (name === 'http') identity.setTokenUri(`http://127.0.0.1:${listener.port}/token`);
  }
  return portsOf(listeners);
}

function portsOf(listeners) {
  return Object.fromEntries(Object.entries(listeners).map(([name, listener]) => [name, listener.port]));
}

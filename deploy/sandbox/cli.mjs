// The command line: runs the sandbox, or talks to one that runs.

import { parseArgs } from 'node:util';

import { request } from './http_client.mjs';

const USAGE = `carillon-sandbox COMMAND

  serve [--directory D] [--http-port N] [--smtp-port N] [--apns-port N] [--control-port N]
        [--keep N] [--webhook-secret whsec_...]
      stands in for SMTP, SendGrid, Twilio, Vonage, FCM, APNs and a webhook receiver on 127.0.0.1; a port
      that is 0 or left out is any free one. Prints its ports as a line of JSON when it is ready. D (default:
      ./sandbox) gets ca.pem, apns.p8 and fcm-service-account.json. Keeps the newest N (100000) messages of each.

  With CARILLON_SANDBOX_URL, the address of the control port (./dev up writes it to .run/env):
  messages [--provider P] [--to T] [--contains TEXT] [--limit N] [--json]   what arrived, newest last
  count                     how many, how many of them repeats
  clear                     forget them
  script PROVIDER JSON      let a provider fail: '{"mode": "error", "status": 500, "times": 3}'
  scripts                   the rules that there are
  reset [PROVIDER]          no rules any more
`;

class UsageError extends Error {}

export async function main(parameters) {
  const [name, ...rest] = parameters;
  const command = COMMANDS[name];
  try {
    if (['help', '--help', '-h'].includes(name)) process.stdout.write(USAGE);
    else if (command === undefined) throw new UsageError(name === undefined ? 'no command' : `no command '${name}'`);
    else await command(rest);
  } catch (error) {
    process.stderr.write(`carillon-sandbox: ${error.message}\n`);
    const misused = error instanceof UsageError || error.code?.startsWith('ERR_PARSE_ARGS');
    if (misused) process.stderr.write(USAGE);
    // Some of the ports may be open already.
    process.exit(misused ? 2 : 1);
  }
}

const text = { type: 'string' };

const COMMANDS = {
  async serve(rest) {
    const { values } = parseArgs({
      args: rest,
      options: {
        directory: text,
        'http-port': text,
        'smtp-port': text,
        'apns-port': text,
        'control-port': text,
        keep: text,
        'webhook-secret': text,
      },
    });
    // At once: nothing here is worth keeping.
    for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit(0));
    const { startSandbox } = await import('./sandbox.mjs');
    const directory = values.directory ?? 'sandbox';
    const names = ['http', 'smtp', 'apns', 'control'];
    const ports = await startSandbox({
      directory,
      ports: Object.fromEntries(
        names.map((name) => [name, wholeNumber(values[`${name}-port`] ?? '0', `${name}-port`)]),
      ),
      keep: values.keep === undefined ? undefined : wholeNumber(values.keep, 'keep'),
      webhookSecret: values['webhook-secret'],
    });
    process.stdout.write(`${JSON.stringify({ ...ports, directory })}\n`);
  },

  async messages(rest) {
    const { values } = parseArgs({
      args: rest,
      options: { provider: text, to: text, contains: text, limit: text, json: { type: 'boolean' } },
    });
    const { json, ...filter } = values;
    const { messages } = await call('GET', `/messages?${new URLSearchParams(filter)}`);
    if (json) print(messages);
    else process.stdout.write(messages.map((message) => `${lineOf(message)}\n`).join(''));
  },

  async count() {
    const counts = await call('GET', '/messages/count');
    for (const [provider, { messages, duplicates }] of Object.entries(counts)) {
      process.stdout.write(
        `${provider.padEnd(10)} ${String(messages).padStart(9)}${duplicates > 0 ? `  ${duplicates} repeats` : ''}\n`,
      );
    }
  },

  async clear() {
    await call('DELETE', '/messages');
  },

  async script([provider, rule, ...more]) {
    if (rule === undefined || more.length > 0) throw new UsageError('script takes a provider and a rule');
    print(await call('POST', `/scripts/${encodeURIComponent(provider)}`, rule));
  },

  async scripts() {
    print(await call('GET', '/scripts'));
  },

  async reset([provider]) {
    await call('DELETE', provider === undefined ? '/scripts' : `/scripts/${encodeURIComponent(provider)}`);
  },
};

async function call(method, path, body) {
  const url = process.env.CARILLON_SANDBOX_URL;
  if (!url) throw new Error('CARILLON_SANDBOX_URL is not set; to use the local system: . .run/env');
  const answer = await request(url + path, { method, body, milliseconds: 60_000 });
  const value = JSON.parse(answer.body);
  if (answer.status >= 300) throw new Error(value.error);
  return value;
}

function lineOf({ time, provider, to, subject, text: body, raw }) {
  const shown = [subject, body ?? (subject === undefined ? raw : undefined)]
    .filter(Boolean)
    .join(' - ')
    .replace(/\s+/g, ' ');
  return `${time}  ${provider.padEnd(9)}  ${to}  ${shown.length > 120 ? `${shown.slice(0, 120)}...` : shown}`;
}

function print(value) {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}

function wholeNumber(value, name) {
  if (!/^\d+$/.test(value)) throw new UsageError(`--${name} is a number`);
  return Number(value);
}

// A private system (deploy/local/stack.py) and what a backend does with it over HTTP.
import {execFile} from 'node:child_process';
import {mkdtemp, readFile, rm} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {dirname, join, resolve} from 'node:path';
import {fileURLToPath} from 'node:url';
import {promisify} from 'node:util';

const REPOSITORY = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
const PARTS = 'postgres,rabbitmq,redis,sandbox,server,relay,worker-social,worker-marketing';
const run = promisify(execFile);

export class System {
  /** In a directory of its own. To be removed, whatever became of it. */
  async start() {
    this.directory = await mkdtemp(join(tmpdir(), 'carillon-browser.'));
    await this.stack('up', '--parts', PARTS, '--binaries', process.env.CARILLON_BINARIES ?? join(REPOSITORY, 'build/bin'));
    const lines = (await readFile(join(this.directory, 'env'), 'utf8')).matchAll(/^export (\w+)='?([^'\n]*)'?$/gm);
    this.variables = Object.fromEntries([...lines].map(([, name, value]) => [name, value]));
    this.url = this.variables.CARILLON_PUBLIC_URL;
    this.key = this.variables.CARILLON_APP_KEY;
    this.secret = this.variables.CARILLON_APP_SECRET;
  }

  async remove() {
    await this.stack('down', '--remove').finally(() => rm(this.directory, {recursive: true, force: true}));
  }

  async stack(command, ...rest) {
    await run('/usr/bin/python3', [join(REPOSITORY, 'deploy/local/stack.py'), command, '--dir', this.directory, ...rest], {timeout: 120_000});
  }

  async call(method, request) {
    const response = await fetch(`${this.url}/carillon.v1.${method}`, {
      method: 'POST', body: JSON.stringify(request),
      headers: {'content-type': 'application/json', 'x-app-key': this.key, 'x-app-secret': this.secret},
    });
    const answer = await response.json();
    if (!response.ok) throw new Error(`${method}: ${response.status} ${JSON.stringify(answer)}`);
    return answer;
  }

  /** One of the type to each of these; returns their ids. */
  async send(type, users, more = {}) {
    const requests = users.map((userId) => ({type, userId, ...more}));
    const {responses} = await this.call('NotificationService/BatchSendNotifications', {requests});
    return responses.map(({notification}) => notification.notificationId);
  }

  /** Asks until it is true; false after the limit. */
  async eventually(isTrue, milliseconds = 20_000) {
    const end = Date.now() + milliseconds;
    while (!(await isTrue())) {
      if (Date.now() > end) return false;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    return true;
  }

  /** The providers refuse whatever comes, with these words; null: they take it again. */
  async refuse(words) {
    const control = this.variables.CARILLON_SANDBOX_URL;
    if (words === null) return void (await fetch(`${control}/scripts`, {method: 'DELETE'}));
    const rules = {smtp: {mode: 'error', stage: 'data', code: 554, reason: words}, sendgrid: {mode: 'error', status: 400, reason: words}};
    for (const [provider, rule] of Object.entries(rules)) {
      await fetch(`${control}/scripts/${provider}`, {method: 'POST', body: JSON.stringify(rule)});
    }
  }
}

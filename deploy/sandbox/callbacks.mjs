// Tells a sender what became of its message, as Twilio and Vonage do. Once: whoever
// misses a callback has to ask.

import http from 'node:http';

import { request } from './http_client.mjs';

export const CALLBACK_DELAY = 50;
const ANSWER_MILLISECONDS = 5000;
// So that a receiver that hangs costs no memory without end.
const WAITING_LIMIT = 50_000;

export class Callbacks {
  counts = { answered: 0, failed: 0, waiting: 0 };
  #agent = new http.Agent({ keepAlive: true, maxSockets: 64 });

  // Calls `make()` after the delay and posts what it returns: {url, headers, body}, or undefined.
  async post(delay, make) {
    if (this.counts.waiting >= WAITING_LIMIT) {
      this.counts.failed += 1;
      return;
    }
    this.counts.waiting += 1;
    await new Promise((resolve) => {
      setTimeout(resolve, delay);
    });
    const callback = make();
    if (callback !== undefined) await this.#send(callback);
    this.counts.waiting -= 1;
  }

  async #send({ url, headers, body }) {
    try {
      const agent = url.startsWith('http:') ? this.#agent : undefined;
      const answer = await request(url, { method: 'POST', headers, body, agent, milliseconds: ANSWER_MILLISECONDS });
      this.counts[answer.status < 300 ? 'answered' : 'failed'] += 1;
    } catch {
      this.counts.failed += 1;
    }
  }
}

export function isHttpUrl(text) {
  try {
    return ['http:', 'https:'].includes(new URL(text).protocol);
  } catch {
    return false;
  }
}

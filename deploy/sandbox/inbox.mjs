// What the providers have received: the newest of each, and counts that go on.

import { createHash } from 'node:crypto';

export const MESSAGE_LIMIT = 100_000;
// Per provider, of raw bodies: 100 000 large mails would not fit into memory.
const BYTE_LIMIT = 256 * 1024 * 1024;
// How far back a repeat is still noticed.
const KEY_LIMIT = 2_000_000;

export class Inbox {
  #boxes = new Map();
  #lastSequence = 0;

  constructor(providers, limit = MESSAGE_LIMIT) {
    for (const provider of providers) this.#boxes.set(provider, new Box(limit));
  }

  knows(provider) {
    return this.#boxes.has(provider);
  }

  providers() {
    return [...this.#boxes.keys()];
  }

  // Keeps what a provider has accepted: {to: [text], id, key, raw: Buffer, headers, connection, ...}.
  // `id` is the provider's name for it, `key` what repeats of one notification have in common.
  add(provider, message) {
    message.provider = provider;
    message.sequence = ++this.#lastSequence;
    message.time = Date.now();
    this.#boxes.get(provider).add(message);
    return message;
  }

  // Oldest first. All providers if `provider` is undefined.
  *messages(provider) {
    if (provider !== undefined) {
      yield* this.#boxes.get(provider).oldestFirst();
      return;
    }
    const all = [...this.#boxes.values()].flatMap((box) => [...box.oldestFirst()]);
    yield* all.sort((one, other) => one.sequence - other.sequence);
  }

  newestFirst(provider) {
    return this.#boxes.get(provider).newestFirst();
  }

  counts() {
    return Object.fromEntries([...this.#boxes].map(([provider, box]) => [provider, box.counts()]));
  }

  clear() {
    for (const box of this.#boxes.values()) box.clear();
  }
}

class Box {
  #limit;
  #messages = [];
  // Messages before this index were given up; shifting an array of 100 000 each time is slow.
  #start = 0;
  #bytes = 0;
  #count = 0;
  #distinct = 0;
  #keys = new Set();

  constructor(limit) {
    this.#limit = limit;
  }

  add(message) {
    this.#messages.push(message);
    this.#bytes += message.raw.length;
    this.#count += 1;
    this.#countKey(message.key);
    while (this.#messages.length - this.#start > this.#limit || (this.#bytes > BYTE_LIMIT && this.#kept() > 1)) {
      this.#bytes -= this.#messages[this.#start].raw.length;
      this.#messages[this.#start++] = undefined;
    }
    if (this.#start > this.#limit) {
      this.#messages = this.#messages.slice(this.#start);
      this.#start = 0;
    }
  }

  *oldestFirst() {
    for (let index = this.#start; index < this.#messages.length; ++index) yield this.#messages[index];
  }

  *newestFirst() {
    for (let index = this.#messages.length - 1; index >= this.#start; --index) yield this.#messages[index];
  }

  counts() {
    return {
      messages: this.#count,
      distinct: this.#distinct,
      duplicates: this.#count - this.#distinct,
      kept: this.#kept(),
    };
  }

  clear() {
    this.#messages = [];
    this.#start = this.#bytes = this.#count = this.#distinct = 0;
    this.#keys.clear();
  }

  #kept() {
    return this.#messages.length - this.#start;
  }

  #countKey(key) {
    const digest = digestOf(key);
    if (this.#keys.has(digest)) return;
    this.#distinct += 1;
    this.#keys.add(digest);
    if (this.#keys.size > KEY_LIMIT) this.#keys.delete(this.#keys.values().next().value);
  }
}

// 20 characters, whatever the length of the text.
export function digestOf(...parts) {
  const hash = createHash('sha1');
  for (const part of parts) hash.update(part).update('\0');
  return hash.digest('latin1');
}

// For keys that people read.
export function shortDigest(...parts) {
  return Buffer.from(digestOf(...parts), 'latin1')
    .toString('hex')
    .slice(0, 16);
}

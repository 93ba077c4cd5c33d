// A person's feed as it changes: an EventSource that is replaced whenever it can't go on by itself.

const EVENTS = ['item', 'read_marker', 'removed', 'heartbeat', 'resume_required'];
// The server says something every 15 s; so long a silence is a broken connection.
const SILENCE = 40_000;
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 15_000;

/**
 * @typedef {object} Listener
 * @property {(event: any, name: string) => void} change each once, in the order of seq
 * @property {(isLive: boolean) => void} connection
 * @property {() => void} refused the server would not begin it; it is tried again all the same
 * @property {() => void} resumeRequired the feed has to be listed again; the stream has stopped
 */

export class FeedStream {
  /** @param {() => string} token the newest one @param {Listener} listener */
  constructor(token, listener) {
    this.token = token;
    this.listener = listener;
    this.seq = 0;
    this.pause = FIRST_PAUSE;
    /** @type {EventSource|null} */
    this.source = null;
    this.timer = 0;
    this.watchdog = 0;
  }

  /** @param {number} seq the last that is known */
  start(seq) {
    this.seq = seq;
    this.open();
  }

  stop() {
    clearTimeout(this.timer);
    clearTimeout(this.watchdog);
    this.source?.close();
    this.source = null;
  }

  /** Begins another connection, with the newest token, before the one in use ends. */
  renew() {
    clearTimeout(this.timer);
    const before = this.source;
    this.open();
    this.source?.addEventListener('open', () => before?.close(), {once: true});
    this.source?.addEventListener('error', () => before?.close(), {once: true});
  }

  open() {
    const source = new EventSource(`/v1/feed/events?after_seq=${this.seq}&access_token=${encodeURIComponent(this.token())}`);
    this.source = source;
    source.onopen = () => {
      this.pause = FIRST_PAUSE;
      this.hear(source);
      if (source === this.source) this.listener.connection(true);
    };
    source.onerror = () => this.failed(source);
    for (const name of EVENTS) source.addEventListener(name, (event) => this.take(source, name, event));
    this.hear(source);
  }

  /** @param {EventSource} source */
  hear(source) {
    if (source !== this.source) return;
    clearTimeout(this.watchdog);
    this.watchdog = setTimeout(() => this.again(source), SILENCE);
  }

  /** @param {EventSource} source @param {string} name @param {MessageEvent} event */
  take(source, name, {data}) {
    this.hear(source);
    const message = JSON.parse(data);
    if (name === 'resume_required') {
      if (source !== this.source) return;
      this.stop();
      this.listener.resumeRequired();
      return;
    }
    const seq = Number(message.seq ?? 0);
    // Two connections overlap while one replaces the other.
    if (seq <= this.seq) return;
    this.seq = seq;
    if (name !== 'heartbeat') this.listener.change(message, name);
  }

  /** The browser connects again by itself, after the last seq, unless it was refused. @param {EventSource} source */
  failed(source) {
    if (source !== this.source) return;
    this.listener.connection(false);
    if (source.readyState !== EventSource.CLOSED) return;
    this.again(source);
    this.listener.refused();
  }

  /** @param {EventSource} source */
  again(source) {
    if (source !== this.source) return;
    this.stop();
    this.listener.connection(false);
    this.timer = setTimeout(() => this.open(), this.pause);
    this.pause = Math.min(this.pause * 2, LONGEST_PAUSE);
  }
}

// What was measured so far: depths of queues, rates of lanes.

export const WINDOW = 15 * 60 * 1000;
const MAX_SAMPLES = 2000;

/** @typedef {import('./graph.js').Sample} Sample */

export class DepthHistory {
  constructor() {
    /** @type {Map<string, Sample[]>} */
    this.series = new Map();
    this.latest = 0;
  }

  /** True if so much was missed that the server's own history is wanted. */
  get hasGap() {
    return this.latest === 0 || Date.now() - this.asked > 30_000;
  }

  /** @param {any} answer of ListQueues */
  add(answer) {
    this.asked = Date.now();
    const time = Date.parse(answer.sampleTime ?? new Date().toISOString());
    const isNew = time > this.latest;
    this.latest = Math.max(this.latest, time);
    for (const queue of answer.queues ?? []) {
      if (queue.history) {
        this.series.set(queue.name, queue.history.map((sample) => ({time: Date.parse(sample.time), value: Number(sample.messages ?? 0)})));
      }
      if (isNew) this.append(queue.name, time, Number(queue.messages ?? 0));
    }
    for (const lane of isNew ? answer.lanes ?? [] : []) {
      this.append(`${lane.lane}/in`, time, lane.inRate ?? 0);
      this.append(`${lane.lane}/out`, time, lane.outRate ?? 0);
    }
  }

  /** @param {string} name @param {number} time @param {number} value */
  append(name, time, value) {
    const samples = this.series.get(name) ?? [];
    if (samples.length === 0 || samples.at(-1).time < time) samples.push({time, value});
    while (samples.length > MAX_SAMPLES || (samples.length > 1 && samples[1].time < time - WINDOW)) samples.shift();
    this.series.set(name, samples);
  }

  /** @param {string} name @returns {Sample[]} */
  of(name) {
    return (this.series.get(name) ?? []).filter(({time}) => time >= this.latest - WINDOW);
  }
}

// Depth over time, drawn as SVG.
import {element, setAttribute, setText, svg} from './dom.js';
import {clock, count} from './format.js';

/** @typedef {{time: number, value: number}} Sample */

const WIDTH = 600;
const HEIGHT = 100;

/** The next of 1, 2, 5, 10, 20, ... @param {number} value */
function roundUp(value) {
  if (value <= 5) return 5;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= value) ?? value;
}

/** @param {Sample[]} samples @param {number} from @param {number} to @param {number} top */
function line(samples, from, to, top) {
  return samples.map(({time, value}, index) => {
    const x = ((time - from) / (to - from)) * WIDTH;
    const y = HEIGHT - (value / top) * HEIGHT;
    return `${index === 0 ? 'M' : 'L'}${x.toFixed(1)} ${y.toFixed(1)}`;
  }).join('');
}

/** @param {string} path @param {Sample[]} samples @param {number} from @param {number} to */
function closed(path, samples, from, to) {
  const x = (time) => (((time - from) / (to - from)) * WIDTH).toFixed(1);
  return samples.length < 2 ? '' : `${path}L${x(samples.at(-1).time)} ${HEIGHT}L${x(samples[0].time)} ${HEIGHT}Z`;
}

function canvas(className) {
  const area = svg('path', {class: 'area'});
  const stroke = svg('path', {class: 'stroke', 'vector-effect': 'non-scaling-stroke'});
  const image = svg('svg', {'class': className, 'viewBox': `0 -2 ${WIDTH} ${HEIGHT + 4}`, 'preserveAspectRatio': 'none', 'role': 'img'},
    area, stroke);
  return {image, draw(samples, from, to, top) {
    const path = line(samples, from, to, top);
    setAttribute(stroke, 'd', path);
    setAttribute(area, 'd', closed(path, samples, from, to));
  }};
}

/** A small one, for a row of a table. @param {string} label */
export function sparkline(label) {
  const {image, draw} = canvas('spark');
  return {node: image, /** @param {Sample[]} samples @param {number} from @param {number} to */ update(samples, from, to) {
    const highest = samples.reduce((high, {value}) => Math.max(high, value), 0);
    draw(samples, from, to, Math.max(highest, 1));
    setAttribute(image, 'aria-label', `${label}: now ${count(samples.at(-1)?.value)}, highest ${count(highest)}`);
  }};
}

/** A large one, with scales and a reading under the pointer. */
export function depthGraph() {
  const {image, draw} = canvas('graph');
  const top = element('span', {class: 'scale top'});
  const begin = element('span', {});
  const end = element('span', {});
  const reading = element('span', {class: 'reading', hidden: true});
  const rule = element('span', {class: 'rule', hidden: true});
  const plot = element('div', {class: 'plot'}, image, top, element('span', {class: 'scale bottom'}, '0'), rule, reading);
  /** @type {Sample[]} */
  let shown = [];
  let from = 0;
  let to = 1;

  plot.addEventListener('pointermove', (event) => {
    const box = plot.getBoundingClientRect();
    const at = from + ((event.clientX - box.left) / box.width) * (to - from);
    const nearest = shown.reduce((best, sample) =>
      Math.abs(sample.time - at) < Math.abs(best.time - at) ? sample : best, shown[0]);
    if (!nearest) return;
    const share = (nearest.time - from) / (to - from);
    rule.style.left = `${share * 100}%`;
    reading.style.left = `${Math.min(share, 0.8) * 100}%`;
    setText(reading, `${clock(nearest.time)}  ${count(nearest.value)}`);
    rule.hidden = reading.hidden = false;
  });
  plot.addEventListener('pointerleave', () => { rule.hidden = reading.hidden = true; });

  return {
    node: element('div', {}, plot, element('div', {class: 'time-scale'}, begin, end)),
    /** @param {string} name @param {Sample[]} samples @param {number} start @param {number} finish */
    update(name, samples, start, finish) {
      [shown, from, to] = [samples, start, finish];
      const highest = samples.reduce((high, {value}) => Math.max(high, value), 0);
      const scale = roundUp(highest);
      draw(samples, from, to, scale);
      setText(top, count(scale));
      setText(begin, clock(from));
      setText(end, clock(to));
      setAttribute(image, 'aria-label',
        `Messages in ${name} from ${clock(from)} to ${clock(to)}: now ${count(samples.at(-1)?.value)}, highest ${count(highest)}`);
    },
  };
}

// Numbers, times and names as people read them.

const COUNT = new Intl.NumberFormat('en', {maximumFractionDigits: 0, useGrouping: true});
const SMALL = new Intl.NumberFormat('en', {maximumFractionDigits: 1});
const SHORT = new Intl.NumberFormat('en', {notation: 'compact', maximumFractionDigits: 1});
const CLOCK = new Intl.DateTimeFormat('en-GB', {hour: '2-digit', minute: '2-digit', second: '2-digit'});
const DAY = new Intl.DateTimeFormat('en-GB', {day: 'numeric', month: 'short', year: 'numeric'});

/** Of protobuf JSON: int64 are strings, zeros are left out. @param {any} value */
export const number = (value) => Number(value ?? 0);

/** @param {any} value */
export const count = (value) => COUNT.format(number(value)).replaceAll(',', '\u202f');

/** 5K for 5 000. @param {number} value */
export const short = (value) => SHORT.format(value);

/** Per second. @param {any} value */
export function rate(value) {
  const perSecond = number(value);
  if (perSecond === 0) return '0/s';
  return perSecond < 10 ? `${SMALL.format(perSecond)}/s` : `${count(perSecond)}/s`;
}

/** "12.500s" in seconds; undefined if it is absent. @param {string|undefined} duration */
export const seconds = (duration) => duration === undefined ? undefined : parseFloat(duration);

/** A length of time, in its largest units. @param {number|undefined} value in seconds */
export function length(value, units = 2) {
  if (value === undefined || Number.isNaN(value)) return '-';
  if (value < 1) return `${Math.max(0, Math.round(value * 10) / 10)} s`;
  const whole = Math.round(value);
  const parts = [[Math.floor(whole / 86400), 'd'], [Math.floor(whole / 3600) % 24, 'h'],
    [Math.floor(whole / 60) % 60, 'min'], [whole % 60, 's']];
  const first = parts.findIndex(([amount]) => amount > 0);
  return parts.slice(first, first + units).filter(([amount]) => amount > 0).map(([amount, unit]) => `${amount} ${unit}`).join(' ');
}

/** @param {string|number|Date|undefined} value */
export function clock(value) {
  return value === undefined ? '-' : CLOCK.format(new Date(value));
}

/** With the day unless it is today. @param {string|undefined} value */
export function time(value) {
  if (value === undefined) return '-';
  const when = new Date(value);
  const today = DAY.format(when) === DAY.format(new Date());
  return today ? CLOCK.format(when) : `${DAY.format(when)}, ${CLOCK.format(when)}`;
}

/** @param {string|undefined} value */
export function ago(value, units = 2) {
  if (value === undefined) return '-';
  const passed = (Date.now() - Date.parse(value)) / 1000;
  return passed < 1 ? 'just now' : `${length(passed, units)} ago`;
}

/** DELIVERY_STATE_SENT, of the prefix DELIVERY_STATE, as "sent". @param {string|undefined} name */
export function word(name, prefix = '') {
  return (name ?? 'unspecified').replace(prefix && `${prefix}_`, '').toLowerCase().replaceAll('_', ' ');
}

/** @param {string|undefined} channel */
export const channel = (channel) => ({in_app: 'feed', email: 'e-mail', sms: 'SMS', apns: 'APNs', fcm: 'FCM', webhook: 'webhook'})[
  word(channel, 'CHANNEL').replace(' ', '_')] ?? word(channel, 'CHANNEL');

/** @param {number} amount @param {string} one */
export const many = (amount, one, more = `${one}s`) => `${count(amount)} ${amount === 1 ? one : more}`;

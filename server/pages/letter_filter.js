// Which dead letters: as a form, in the page's address, in a request and in words.
import {byId} from './dom.js';
import {length, many, seconds} from './format.js';

const FIELDS = {app_key: 'appKey', lane: 'lane', queue: 'queue', type: 'type', error: 'error', provider: 'provider',
  newer_than: 'newerThan', older_than: 'olderThan'};

/** What the form says, as an address. */
export function addressOfForm() {
  const query = new URLSearchParams();
  for (const [name, value] of new FormData(byId('letter-filter'))) {
    const text = String(value).trim();
    // All apps is what nothing said means here.
    if (name === 'app_key' ? text === '' : text !== '') query.set(name, text || 'this');
  }
  return query.size ? `#letters?${query}` : '#letters';
}

/** @param {URLSearchParams} query */
export function fillForm(query) {
  for (const name of Object.keys(FIELDS)) byId('letter-filter').elements[name].value = query.get(name) ?? '';
  byId('letter-filter').elements.app_key.value = query.get('app_key') === 'this' ? '' : '*';
}

/** @param {URLSearchParams} query @returns {Record<string, any>} a DeadLetterFilter */
export function filterOf(query) {
  /** @type {Record<string, any>} */
  const filter = {appKey: query.get('app_key') === 'this' ? undefined : '*'};
  for (const [name, field] of Object.entries(FIELDS)) {
    if (name !== 'app_key' && query.get(name)) filter[field] = query.get(name);
  }
  return filter;
}

/**
 * A filter for exactly a group's letters; only to be of no type, or of no kind of error, can't be asked for.
 * @param {Record<string, any>} filter @param {any} group a DeadLetterGroup
 */
function narrowed(filter, group) {
  const narrow = {...filter, queue: group.queue, type: group.type, provider: group.provider, withoutProvider: !group.provider,
    errorKind: group.error, error: filter.error || (group.error ? '' : group.reason)};
  return Object.fromEntries(Object.entries(narrow).filter(([, value]) => value));
}

/**
 * Groups as rows, each with the filter that asks for it. Those that differ only in their reason are one: no filter, and no
 * column of a row, tells them apart.
 * @param {Record<string, any>} filter @param {any[]} groups
 */
export function rowsOf(filter, groups) {
  const rows = new Map();
  for (const group of groups) {
    const which = narrowed(filter, group);
    const key = JSON.stringify(which);
    rows.set(key, {which, groups: [...rows.get(key)?.groups ?? [], group]});
  }
  return [...rows.values()];
}

/** @param {Record<string, any>} [filter] */
export function inWords(filter = {}) {
  const parts = [];
  if (filter.deadLetterIds?.length) {
    parts.push(filter.deadLetterIds.length === 1 ? `letter ${filter.deadLetterIds[0]}` : many(filter.deadLetterIds.length, 'letter'));
  }
  for (const name of ['lane', 'queue', 'type', 'provider']) if (filter[name]) parts.push(`${name} ${filter[name]}`);
  if (filter.withoutProvider) parts.push('no provider');
  if (filter.errorKind) parts.push(`kind of error “${filter.errorKind}”`);
  if (filter.error) parts.push(`error with “${filter.error}”`);
  if (filter.newerThan) parts.push(`died within ${length(seconds(filter.newerThan))}`);
  if (filter.olderThan) parts.push(`died more than ${length(seconds(filter.olderThan))} ago`);
  parts.push(filter.appKey === '*' ? 'all apps' : filter.appKey ? `app ${filter.appKey}` : 'this app');
  return parts.join(', ');
}

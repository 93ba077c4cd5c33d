// Makes and changes elements. Text goes in as text: nothing here reads markup.

const SVG = 'http://www.w3.org/2000/svg';

/** @param {string} id @returns {any} */
export const byId = (id) => document.getElementById(id);

/** @param {Element} node @param {Record<string, any>} properties */
function apply(node, properties) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? '' : String(value));
  }
}

/**
 * @param {string} tag
 * @param {Record<string, any>} [properties] attributes; of a name that begins with "on", listeners
 * @param {...(Node|string|number|null|undefined)} children
 * @returns {any}
 */
export function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  apply(node, properties);
  node.append(...children.filter((child) => child !== null && child !== undefined).map((child) =>
    child instanceof Node ? child : String(child)));
  return node;
}

/** @param {string} tag @param {Record<string, any>} properties @param {...Node} children */
export function svg(tag, properties, ...children) {
  const node = document.createElementNS(SVG, tag);
  apply(node, properties);
  node.append(...children);
  return node;
}

/** Touches the page only if something changed: screen readers and selections stay quiet. */
export function setText(node, text) {
  if (node.textContent !== String(text)) node.textContent = String(text);
}

/** @param {Element} node @param {string} name @param {string} value */
export function setAttribute(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

/**
 * Keeps the children of a parent in step with items; what stays is changed in place, so that
 * focus stays where it is.
 * @template T
 * @param {Element} parent
 * @param {(item: T) => string} keyOf
 * @param {(item: T) => {node: Element, update: (item: T) => void}} make
 * @returns {(items: T[]) => void}
 */
export function keyedList(parent, keyOf, make) {
  const rows = new Map();
  return (items) => {
    const wanted = new Set(items.map(keyOf));
    for (const [key, row] of rows) {
      if (wanted.has(key)) continue;
      row.node.remove();
      rows.delete(key);
    }
    items.forEach((item, index) => {
      const key = keyOf(item);
      if (!rows.has(key)) rows.set(key, make(item));
      const row = rows.get(key);
      row.update(item);
      if (parent.children[index] !== row.node) parent.insertBefore(row.node, parent.children[index] ?? null);
    });
  };
}

/**
 * A row of a table that becomes a card on a narrow screen, where each cell names its column.
 * @param {HTMLTableElement} table
 * @param {(Node|string|number)[]} cells the first is the row's head
 * @returns {HTMLTableRowElement}
 */
export function tableRow(table, cells) {
  const heads = [...table.tHead.rows[0].cells];
  return element('tr', {role: 'row'}, ...cells.map((cell, index) => element(index === 0 ? 'th' : 'td', {
    'scope': index === 0 ? 'row' : null, 'role': index === 0 ? 'rowheader' : 'cell',
    'class': heads[index].className, 'data-label': heads[index].textContent,
  }, cell)));
}

/** Tables that are shown as cards lose what they are, unless they say it. */
export function nameTables() {
  for (const table of document.querySelectorAll('table')) {
    table.setAttribute('role', 'table');
    for (const part of table.querySelectorAll('thead, tbody')) part.setAttribute('role', 'rowgroup');
    for (const row of table.querySelectorAll('tr')) row.setAttribute('role', 'row');
    for (const head of table.querySelectorAll('th')) head.setAttribute('role', 'columnheader');
  }
}

/** @param {Element} list a dl @param {[string, Node|string|number][]} facts */
export function setFacts(list, facts) {
  list.replaceChildren(...facts.filter(([, value]) => value !== '' && value !== null && value !== undefined)
    .map(([name, value]) => element('div', {}, element('dt', {}, name), element('dd', {}, value))));
}

/** A state in words, with a shape and a colour that say the same. @param {'good'|'warn'|'bad'|'idle'} kind */
export function state(kind, text) {
  return element('span', {class: `state ${kind}`}, text);
}

/** @param {Element} node @param {'good'|'warn'|'bad'|'idle'} kind @param {string} text */
export function setState(node, kind, text) {
  setAttribute(node, 'class', `state ${kind}`);
  setText(node, text);
}

/** Says something to people who don't see the page; only what is worth an interruption. */
export function announce(text) {
  byId('announcer').textContent = text;
}

// What each provider was told to do instead of its duty: rules in order, the first
// that fits a request decides.

import { POLICIES, faultOfRule, stageOf } from './rules.mjs';

export class Scripts {
  #rules = new Map();
  #lastId = 0;
  #onRefusal;

  // `onRefusal(provider)` is called whenever the answer of refuses(provider) may have changed.
  constructor(providers, onRefusal) {
    for (const provider of providers) this.#rules.set(provider, []);
    this.#onRefusal = onRefusal;
  }

  knows(provider) {
    return this.#rules.has(provider);
  }

  providers() {
    return [...this.#rules.keys()];
  }

  // Appends rules and returns them as listed. Throws a RangeError that says what is wrong.
  add(provider, rules) {
    for (const rule of rules) {
      const fault = faultOfRule(provider, rule);
      if (fault !== undefined) throw new RangeError(fault);
    }
    const now = Date.now();
    const added = rules.map((rule) => ({
      ...rule,
      id: ++this.#lastId,
      used: 0,
      until: now + (rule.for_seconds ?? Infinity) * 1000,
    }));
    this.#rules.get(provider).push(...added);
    if (added.some((rule) => rule.mode === 'refuse')) this.#refusalChanged(provider, added);
    return added.map(listed);
  }

  reset(provider) {
    for (const name of provider === undefined ? this.providers() : [provider]) {
      this.#rules.set(name, []);
      this.#onRefusal(name);
    }
  }

  list() {
    return Object.fromEntries([...this.#rules].map(([provider, rules]) => [provider, rules.map(listed)]));
  }

  // The rule that decides about a request for `text` (its recipient, token or address), used up by
  // one; undefined if there is none.
  next(provider, text, stage) {
    const rules = this.#rules.get(provider);
    if (rules.length === 0) return undefined;
    return use(
      rules.find(
        (rule) => decides(rule) && alive(rule) && fits(rule, text) && (stage === undefined || stageOf(rule) === stage),
      ),
    );
  }

  // The same for a rule that only changes how something is done.
  policy(provider, mode, text = '') {
    const rules = this.#rules.get(provider);
    if (rules.length === 0) return undefined;
    return use(rules.find((rule) => rule.mode === mode && alive(rule) && fits(rule, text)));
  }

  refuses(provider) {
    return this.#rules.get(provider).some((rule) => rule.mode === 'refuse' && alive(rule));
  }

  #refusalChanged(provider, added) {
    this.#onRefusal(provider);
    for (const rule of added.filter(({ until }) => until !== Infinity)) {
      setTimeout(() => this.#onRefusal(provider), rule.until - Date.now() + 1).unref();
    }
  }
}

// Does to a request what its rule says. `exchange` has accept() -> reply, failure(rule) -> reply,
// answer(reply) and drop(); a request that gets none of them waits for ever.
export function perform(rule, exchange) {
  if (rule === undefined) {
    exchange.answer(exchange.accept());
  } else if (rule.delay_ms > 0) {
    setTimeout(() => strike(rule, exchange), rule.delay_ms);
  } else {
    strike(rule, exchange);
  }
}

function strike(rule, exchange) {
  switch (rule.mode) {
    case 'error':
      exchange.answer(exchange.failure(rule));
      break;
    case 'hang':
      break;
    case 'hang_after_accept':
      exchange.accept();
      break;
    case 'drop':
      if (rule.after_accept) exchange.accept();
      exchange.drop();
      break;
    default:
      exchange.answer(exchange.accept());
  }
}

function decides(rule) {
  return POLICIES[rule.mode] === undefined && rule.mode !== 'refuse';
}

function alive(rule) {
  return rule.used < (rule.times ?? Infinity) && Date.now() < rule.until;
}

function fits(rule, text) {
  return rule.match === undefined || text.includes(rule.match);
}

function use(rule) {
  if (rule !== undefined) rule.used += 1;
  return rule;
}

function listed(rule) {
  const { until, ...told } = rule;
  return { ...told, active: alive(rule) };
}

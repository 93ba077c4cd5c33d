// Which rules there are and what they may say. A rule with a typing error would
// quietly do nothing, so anything unknown is refused.

const WHEN = ['times', 'for_seconds', 'match', 'delay_ms'];

// Per mode: its own fields.
const MODES = {
  ok: [...WHEN, 'stage'],
  error: [...WHEN, 'stage', 'status', 'code', 'reason', 'body', 'retry_after', 'timestamp'],
  hang: [...WHEN, 'stage'],
  hang_after_accept: [...WHEN, 'stage'],
  slow: [...WHEN, 'stage'],
  drop: [...WHEN, 'stage', 'after_accept'],
  refuse: ['for_seconds'],
  callback: [...WHEN, 'status', 'error_code'],
  token_limit: ['for_seconds', 'limit'],
};

// Modes that don't decide about a request, and who has them.
export const POLICIES = { callback: ['twilio', 'vonage'], token_limit: ['apns'] };

const STAGES = ['connect', 'auth', 'mail', 'rcpt', 'data'];
const NUMBERS = ['times', 'for_seconds', 'delay_ms', 'retry_after', 'timestamp', 'limit'];
const REQUIRED = { slow: ['delay_ms'], callback: [], token_limit: ['limit'] };

// Why this is no rule of the provider; undefined if it is one.
export function faultOfRule(provider, rule) {
  if (typeof rule !== 'object' || rule === null || Array.isArray(rule)) return 'a rule is an object';
  const known = MODES[rule.mode];
  if (known === undefined) return `mode is one of ${Object.keys(MODES).join(', ')}`;
  if (POLICIES[rule.mode] !== undefined && !POLICIES[rule.mode].includes(provider)) {
    return `mode ${rule.mode} is for ${POLICIES[rule.mode].join(', ')}`;
  }
  for (const [name, value] of Object.entries(rule)) {
    if (name !== 'mode' && !known.includes(name)) return `mode ${rule.mode} has no ${name}; it has ${known.join(', ')}`;
    if (NUMBERS.includes(name) && !(Number.isFinite(value) && value >= 0)) return `${name} is a number, 0 or more`;
  }
  const missing = (REQUIRED[rule.mode] ?? []).find((name) => rule[name] === undefined);
  if (missing !== undefined) return `mode ${rule.mode} needs ${missing}`;
  if (rule.match !== undefined && typeof rule.match !== 'string') return 'match is a text';
  return faultOfStage(provider, rule) ?? faultOfStatus(provider, rule);
}

function faultOfStage(provider, rule) {
  if (rule.stage === undefined) return undefined;
  if (provider !== 'smtp') return 'only smtp has stages';
  return STAGES.includes(rule.stage) ? undefined : `stage is one of ${STAGES.join(', ')}`;
}

function faultOfStatus(provider, rule) {
  if (rule.mode !== 'error') return undefined;
  if (provider === 'smtp') {
    const code = rule.code ?? rule.status ?? 450;
    return code >= 400 && code <= 599 ? undefined : 'code is an SMTP reply from 400 to 599';
  }
  const { status } = rule;
  return status === undefined || (Number.isInteger(status) && status >= 200 && status <= 599)
    ? undefined
    : 'status is an HTTP status from 200 to 599';
}

// Where in an SMTP session a rule strikes.
export function stageOf(rule) {
  return rule.stage ?? (rule.mode === 'error' ? 'rcpt' : 'data');
}

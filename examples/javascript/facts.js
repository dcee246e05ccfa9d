// The decisions: which URL to ask, and what of its answer the guest is told.
//
// Nothing in here knows the gateway, so that it can be tested by any node: see facts.test.js.

export const CONFIG_SCHEMA = {
  type: 'object',
  properties: {
    url: { type: 'string', description: 'May hold {hostname}, {instance_id} and {project_id}.' },
    members: {
      type: 'object',
      description: 'Members of our answer, and a JSON Pointer into the answer of the URL for each.',
      minProperties: 1,
      additionalProperties: { type: 'string', pattern: '^(/([^~/]|~[01])*)+$' },
    },
    credential: { type: 'string', minLength: 1 },
    scheme: { type: 'string', pattern: '^(bearer|basic:.+|header:[A-Za-z0-9-]+)$' },
    fresh_s: { type: 'integer', minimum: 0, maximum: 86400 },
    keep_days: { type: 'integer', minimum: 0, maximum: 3650 },
  },
  required: ['url', 'members'],
  additionalProperties: false,
  dependentRequired: { scheme: ['credential'] },
};

const PLACEHOLDER = /\{([^{}]*)\}/g;
const MEMBERS = { hostname: 'hostname', instance_id: 'id', project_id: 'projectId' };

// There is no answer. `tag` and `val` are those of the WIT's `error`.
export class Refused extends Error {
  constructor(tag, val) {
    super(tag);
    this.tag = tag;
    this.val = val;
  }
}

// The target's `config` table.
export function settings(config) {
  const defaults = { scheme: 'bearer', fresh_s: 600, keep_days: 30 };
  return { ...defaults, ...JSON.parse(config) };
}

// What the schema cannot say.
export function faults({ url }) {
  const found = [];
  for (const [, name] of url.matchAll(PLACEHOLDER)) {
    if (!Object.hasOwn(MEMBERS, name)) {
      const known = Object.keys(MEMBERS).join('}, {');
      found.push({ pointer: '/url', message: `{${name}} means nothing; there are {${known}}` });
    }
  }
  // The host is where the credential goes: an instance has no say in it.
  const [beforePath] = url.replace('://', '').split(/[/?#]/);
  if (!/^https?:\/\/[^/]/.test(url) || /[{}@]/.test(beforePath)) {
    found.push({ pointer: '/url', message: 'is to be https://HOST/..., with placeholders after the host only' });
  }
  return found;
}

// The URL to ask for this instance, or undefined where it has nothing to put in.
export function urlFor({ url }, instance) {
  let whole = true;
  const filled = url.replace(PLACEHOLDER, (_, name) => {
    const value = instance[MEMBERS[name]] ?? '';
    // The tenant chose the hostname. Encoding keeps it within its segment, but for these, which mean another one.
    if (['', '.', '..'].includes(value)) whole = false;
    return encodeURIComponent(value);
  });
  return whole ? filled : undefined;
}

// The scheme of the WIT's `http` for the setting.
export function authScheme({ scheme }) {
  const [tag, ...rest] = scheme.split(':');
  return tag === 'bearer' ? { tag } : { tag, val: rest.join(':') };
}

// What the guest is told, by what the URL answered. Nothing where it knows nothing of the instance.
export function factsOf({ members }, status, body) {
  if (status === 404) return {};
  if (status === 401 || status === 403) {
    throw new Refused('misconfigured', [{ pointer: '/credential', message: `is not accepted: ${status}` }]);
  }
  if (status !== 200) throw new Refused('upstream', `the URL answers ${status}`);
  let answer;
  try {
    answer = JSON.parse(body);
  } catch {
    // Without the cause, whose text repeats some of the answer.
    throw new Refused('upstream', 'the URL answers no JSON');
  }
  const found = Object.entries(members).map(([name, pointer]) => [name, at(answer, pointer)]);
  return Object.fromEntries(found.filter(([, value]) => value !== undefined && value !== null));
}

// The value at a JSON Pointer (RFC 6901), if there is one.
function at(value, pointer) {
  for (const token of pointer.split('/').slice(1)) {
    const key = token.replaceAll('~1', '/').replaceAll('~0', '~');
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
    value = value[key];
  }
  return value;
}

// What is kept for the time when the URL cannot be had. It is good for the same question only.
export function kept(url, settings, facts) {
  return JSON.stringify({ url, members: settings.members, facts });
}

export function keptFacts(text, url, settings) {
  const entry = JSON.parse(text);
  const same = entry.url === url && JSON.stringify(entry.members) === JSON.stringify(settings.members);
  return same ? entry.facts : undefined;
}

// Whether old facts may stand in: the upstream failed, and nobody has to change the configuration.
export function mayStandIn(refused) {
  return ['upstream', 'upstream-timeout', 'unavailable'].includes(refused.tag);
}

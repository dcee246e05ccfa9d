// A provider that tries what its engine offers: see tests/languages.rs.
//
// Without the metadata key `how` it does the work of tests/plugins/bench.

import * as config from 'vendordock:vendordata/config@0.1.0';

export const plugin = {
  describe() {
    return {
      name: 'javascript-probe',
      version: '0.1.0',
      description: 'Tries what its engine offers',
      configSchema: '{"type": "object", "additionalProperties": false}',
      responseSchema: undefined,
      wantsCredentials: [],
      wantsUrls: [],
      cache: { scope: 'none', ttlMs: 0, staleIfErrorMs: 0 },
      idempotent: true,
      extra: undefined,
    };
  },

  validate() {
    return [];
  },
};

export const provider = {
  provide(request) {
    const { how = 'work' } = Object.fromEntries(request.instance.metadata);
    if (how.startsWith('error:')) throw errors[how.slice('error:'.length)];
    try {
      return { body: JSON.stringify(acts[how](request)), parts: [], secret: false };
    } catch (error) {
      console.error(`${error}\n${error.stack}`);
      throw error;
    }
  },
};

const acts = {
  work(request) {
    const settings = JSON.parse(config.all());
    const sent = JSON.parse(request.raw);
    const labels = Object.entries(sent.metadata).filter(([key]) => key.startsWith('label.'));
    return {
      fqdn: `${sent.hostname}.${settings.domain ?? 'cloud.example.test'}`,
      instance: sent['instance-id'],
      project: sent['project-id'],
      labels: Object.fromEntries(labels),
      payload: 'x'.repeat((settings.body_bytes ?? 1024) - 180),
    };
  },

  // What a mistake looks like: an exception that nobody expects, some calls deep.
  fail() {
    return lookedUp({ colour: 'blue' }, 'color');
  },

  // All that a program usually finds around it.
  system() {
    return {
      process: typeof process,
      require: typeof require,
      fetch: attempt(() => fetch('http://127.0.0.1/')),
      clock: attempt(() => Date.now()),
      random: attempt(() => crypto.randomUUID()),
    };
  },
};

function lookedUp(table, key) {
  return table[key].length;
}

// What came of it, or the class of what was thrown.
function attempt(act) {
  try {
    return String(act());
  } catch (error) {
    return error.name;
  }
}

const fault = { pointer: '/metadata/how', message: 'is an error' };
const errors = {
  'invalid-request': { tag: 'invalid-request', val: [fault] },
  forbidden: { tag: 'forbidden', val: 'no' },
  'not-found': { tag: 'not-found', val: 'nothing' },
  conflict: { tag: 'conflict', val: 'changed' },
  throttled: { tag: 'throttled', val: 2000 },
  misconfigured: { tag: 'misconfigured', val: [fault] },
  internal: { tag: 'internal', val: 'broken' },
  upstream: { tag: 'upstream', val: 'down' },
  unavailable: { tag: 'unavailable', val: 3000 },
  'upstream-timeout': { tag: 'upstream-timeout', val: 'slow' },
};

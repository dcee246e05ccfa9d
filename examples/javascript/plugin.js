// Tells an instance what the site's inventory knows of it.
//
// This file is what the gateway calls, and what calls the gateway. The decisions are in facts.js.

import * as config from 'vendordock:vendordata/config@0.1.0';
import * as credentials from 'vendordock:vendordata/credentials@0.1.0';
import * as http from 'vendordock:vendordata/http@0.1.0';
import * as log from 'vendordock:vendordata/log@0.1.0';
import * as state from 'vendordock:vendordata/state@0.1.0';

import * as facts from './facts.js';
import { Refused } from './facts.js';

const DAY_MS = 24 * 60 * 60 * 1000;

export const plugin = {
  describe() {
    return {
      name: 'facts',
      version: '0.1.0',
      description: "Tells an instance what the site's inventory knows of it",
      configSchema: JSON.stringify(facts.CONFIG_SCHEMA),
      responseSchema: undefined,
      wantsCredentials: ['inventory'],
      wantsUrls: ['https://inventory.example.test/api/*'],
      cache: hint(600_000),
      idempotent: true,
      extra: undefined,
    };
  },

  validate() {
    return facts.faults(facts.settings(config.all()));
  },
};

export const provider = {
  // What is thrown here and is no `Error` becomes the WIT's `error`. An `Error` is a trap.
  provide({ instance }) {
    try {
      return factsFor(facts.settings(config.all()), instance);
    } catch (error) {
      if (error instanceof Refused) throw { tag: error.tag, val: error.val };
      // For the gateway's log, which has otherwise the stack of the generated code only.
      console.error(`${error}\n${error.stack}`);
      throw error;
    }
  },
};

function factsFor(settings, instance) {
  const url = facts.urlFor(settings, instance);
  if (url === undefined) return response({}, settings.fresh_s);
  const key = `facts/${instance.id}`;
  let found;
  try {
    found = facts.factsOf(settings, ...ask(settings, url));
  } catch (error) {
    if (!(error instanceof Refused) || !facts.mayStandIn(error)) throw error;
    found = recall(key, url, settings);
    if (found === undefined) throw error;
    log.emit('warn', 'answered what was known before', [['because', String(error.val ?? error.tag)]]);
    // Soon to be asked again.
    return response(found, Math.min(settings.fresh_s, 30));
  }
  keep(key, url, settings, found);
  // Inventories often hear of an instance later than nova asks.
  const known = Object.keys(found).length > 0;
  return response(found, known ? settings.fresh_s : Math.min(settings.fresh_s, 60));
}

function response(found, freshS) {
  return { body: JSON.stringify(found), parts: [], secret: false, cache: hint(freshS * 1000), extra: undefined };
}

function hint(ttlMs) {
  return { scope: 'instance', ttlMs, staleIfErrorMs: 0 };
}

// The status and body that the URL answers.
function ask(settings, url) {
  const request = {
    method: 'get',
    url,
    headers: [['accept', new TextEncoder().encode('application/json')]],
    body: undefined,
    timeoutMs: undefined,
    maxRedirects: 0,
  };
  let answer;
  if (settings.credential === undefined) {
    answer = calling(() => http.send(request));
  } else {
    const credential = opened(settings.credential);
    answer = calling(() => http.sendWith(request, credential, facts.authScheme(settings)));
  }
  return [answer.status, new TextDecoder().decode(answer.body)];
}

function opened(name) {
  try {
    return credentials.open(name);
  } catch (error) {
    if (error.payload === undefined) throw error;
    throw new Refused('misconfigured', [{ pointer: '/credential', message: 'no credential of this name is granted' }]);
  }
}

// Runs a request, and says whose fault it is when it has no answer.
function calling(send) {
  try {
    return send();
  } catch (error) {
    if (error.payload === undefined) throw error;
    const { tag, val } = error.payload;
    switch (tag) {
      case 'timeout':
        throw new Refused('upstream-timeout', 'the URL does not answer in time');
      case 'denied':
        throw new Refused('misconfigured', [{ pointer: '/url', message: val }]);
      case 'credential':
        throw new Refused('misconfigured', [{ pointer: '/credential', message: val }]);
      case 'invalid-request':
      case 'too-many-requests':
        throw new Refused('internal', `the request was not sent: ${val ?? tag}`);
      case 'response-too-large':
        throw new Refused('upstream', `the URL answers more than ${val} bytes`);
      default:
        // No name, no connection, no TLS, no HTTP.
        throw new Refused('upstream', val);
    }
  }
}

// State is a help here, not a need: without it there is only no standing in.

function keep(key, url, settings, found) {
  if (settings.keep_days === 0) return;
  const value = new TextEncoder().encode(facts.kept(url, settings, found));
  withState(() => state.set(key, value, BigInt(settings.keep_days * DAY_MS)));
}

function recall(key, url, settings) {
  const entry = withState(() => state.get(key));
  return entry && facts.keptFacts(new TextDecoder().decode(entry.value), url, settings);
}

function withState(act) {
  try {
    return act();
  } catch (error) {
    if (error.payload === undefined) throw error;
    const level = error.payload.tag === 'not-granted' ? 'debug' : 'warn';
    log.emit(level, 'the state cannot be used', [['error', error.payload.tag]]);
    return undefined;
  }
}

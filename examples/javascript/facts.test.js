// node --test

import assert from 'node:assert/strict';
import { test } from 'node:test';

import * as facts from './facts.js';

const settings = facts.settings(
  JSON.stringify({
    url: 'https://inventory.example.test/api/hosts/{hostname}?tenant={project_id}',
    members: { role: '/role', site: '/site/name', 'a/b': '/odd~1key/0' },
  }),
);
const instance = { id: 'a3a4c0b6', projectId: 'p1', hostname: 'web' };

function refusal(act) {
  try {
    act();
  } catch (error) {
    assert(error instanceof facts.Refused, error);
    return { tag: error.tag, val: error.val };
  }
  assert.fail('nothing was refused');
}

test('a hostname stays within its place in the URL', () => {
  const url = (hostname) => facts.urlFor(settings, { ...instance, hostname });

  assert.equal(url('web'), 'https://inventory.example.test/api/hosts/web?tenant=p1');
  assert.equal(url('../../users?x=1#'), 'https://inventory.example.test/api/hosts/..%2F..%2Fusers%3Fx%3D1%23?tenant=p1');
  for (const nothing of ['..', '.', '', undefined]) assert.equal(url(nothing), undefined);
});

test('an instance cannot choose the host that is asked', () => {
  for (const url of ['https://{hostname}/x', 'https://a.{hostname}', 'https://u@h/', 'ftp://h/', 'h/x', 'https://']) {
    assert.deepEqual(facts.faults({ url }).map(({ pointer }) => pointer), ['/url'], url);
  }
  assert.deepEqual(facts.faults({ url: 'https://h/{name}' }), [
    { pointer: '/url', message: '{name} means nothing; there are {hostname}, {instance_id}, {project_id}' },
  ]);
  assert.deepEqual(facts.faults(settings), []);
});

test('the guest is told the configured members and no more', () => {
  const body = JSON.stringify({
    role: 'db',
    site: { name: 'north', keys: 'secret' },
    'odd/key': [{ deep: [1.5, true] }],
  });

  assert.deepEqual(facts.factsOf(settings, 200, body), { role: 'db', site: 'north', 'a/b': { deep: [1.5, true] } });
});

test('what is not there is left out', () => {
  assert.deepEqual(facts.factsOf(settings, 200, '{"role": null, "site": "north"}'), {});
  assert.deepEqual(facts.factsOf(settings, 200, '[]'), {});
  assert.deepEqual(facts.factsOf(settings, 404, 'no such host'), {});
  assert.deepEqual(facts.factsOf({ members: { x: '/__proto__' } }, 200, '{}'), {});
});

test('a failure is told without what was answered', () => {
  assert.deepEqual(refusal(() => facts.factsOf(settings, 200, '<secret>')), {
    tag: 'upstream',
    val: 'the URL answers no JSON',
  });
  assert.deepEqual(refusal(() => facts.factsOf(settings, 500, 'secret')), {
    tag: 'upstream',
    val: 'the URL answers 500',
  });
  assert.deepEqual(refusal(() => facts.factsOf(settings, 401, 'secret')), {
    tag: 'misconfigured',
    val: [{ pointer: '/credential', message: 'is not accepted: 401' }],
  });
});

test('what was kept stands in for the same question only', () => {
  const url = facts.urlFor(settings, instance);
  const text = facts.kept(url, settings, { role: 'db' });

  assert.deepEqual(facts.keptFacts(text, url, settings), { role: 'db' });
  assert.equal(facts.keptFacts(text, `${url}0`, settings), undefined);
  assert.equal(facts.keptFacts(text, url, { members: { role: '/other' } }), undefined);
});

test('old facts stand in for a failure of the inventory, not of the configuration', () => {
  assert(facts.mayStandIn(new facts.Refused('upstream', '')));
  assert(facts.mayStandIn(new facts.Refused('upstream-timeout', '')));
  assert(!facts.mayStandIn(new facts.Refused('misconfigured', [])));
});

test('schemes are those of the gateway', () => {
  assert.deepEqual(facts.authScheme(settings), { tag: 'bearer' });
  assert.deepEqual(facts.authScheme({ scheme: 'basic:me:too' }), { tag: 'basic', val: 'me:too' });
  assert.deepEqual(facts.authScheme({ scheme: 'header:X-Api-Key' }), { tag: 'header', val: 'X-Api-Key' });
});

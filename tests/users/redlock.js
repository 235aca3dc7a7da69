// redlock: two processes' worth of clients; a counter changed by reading and writing stays exact.
'use strict';
const { default: Redlock, ResourceLockedError, ExecutionError } = require('redlock');
const Redis = require('ioredis');
const { host, port, check, version, run, sleep, waitFor, numbered } = require('./common');

const settings = {
  driftFactor: 0.01,
  retryCount: 2000,
  retryDelay: 5,
  retryJitter: 10,
  automaticExtensionThreshold: 500,
};
const refused = async (promise) => {
  try {
    await promise;
    return 'granted';
  } catch (error) {
    if (error instanceof ExecutionError || error instanceof ResourceLockedError) return 'refused';
    throw error;
  }
};

async function counters(redis, lockers) {
  let inside = 0;
  let ours = 0;
  await Promise.all(
    lockers.map(async (redlock) => {
      for (let i = 0; i < 25; i++) {
        const lock = await redlock.acquire(['lock:counter'], 10000);
        inside += 1;
        if (inside !== 1) throw new Error('not ok: two hold the lock');
        const value = Number(await redis.get('counter'));
        const mine = ours;
        await sleep(1);
        ours = mine + 1;
        await redis.set('counter', value + 1);
        inside -= 1;
        await lock.release();
      }
    }),
  );
  check('no increment is lost', [ours, await redis.get('counter')], [150, '150']);
}

// Locks of two resources at a time, wherever their keys are: no pair may overlap another.
async function pairs(lockers) {
  const names = numbered('account', 4);
  const held = new Set();
  await Promise.all(
    lockers.map(async (redlock, i) => {
      for (let round = 0; round < 12; round++) {
        const pair = [names[(i + round) % 4], names[(i + 2 * round + 1) % 4]];
        const lock = await redlock.acquire(
          [...new Set(pair)].map((name) => `lock:${name}`),
          10000,
        );
        for (const name of new Set(pair)) {
          if (held.has(name)) throw new Error(`not ok: two hold ${name}`);
          held.add(name);
        }
        await sleep(1);
        for (const name of pair) held.delete(name);
        await lock.release();
      }
    }),
  );
  check('locks over two resources exclude each other', held.size, 0);
}

async function lives(redis, [first], hasty) {
  let lock = await first.acquire(['lock:life'], 10000);
  check('held', await refused(hasty.acquire(['lock:life'], 1000)), 'refused');
  check(
    'held by one of two',
    await refused(hasty.acquire(['lock:free', 'lock:life'], 1000)),
    'refused',
  );
  check('nothing of a refused pair stays', await redis.exists('lock:free'), 0);
  lock = await lock.extend(60000);
  check('extended', (await redis.pttl('lock:life')) > 30000);
  await lock.release();
  check('released', await redis.exists('lock:life'), 0);
  const short = await first.acquire(['lock:short'], 50);
  await waitFor(async () => !(await redis.exists('lock:short')));
  check('extending what has expired', await refused(short.extend(1000)), 'refused');
  const seen = await first.using(['lock:using'], 1000, async (signal) => {
    await sleep(1500); // longer than the lock lives: it is extended meanwhile
    if (signal.aborted) throw signal.error;
    return refused(hasty.acquire(['lock:using'], 1000));
  });
  check('using() extends', [seen, await redis.exists('lock:using')], ['refused', 0]);
}

run(async () => {
  version('redlock');
  const connect = () => new Redis({ host, port });
  const redis = connect();
  const lockers = numbered('locker', 6).map(() => new Redlock([connect()], settings));
  const hasty = new Redlock([connect()], { ...settings, retryCount: 0 });
  await counters(redis, lockers);
  await pairs(lockers);
  await lives(redis, lockers, hasty);
});

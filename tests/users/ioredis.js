// ioredis: pipelines, MULTI, WATCH, scan streams, pub/sub, blocking pops, streams, custom commands.
'use strict';
const { once } = require('node:events');
const Redis = require('ioredis');
const { host, port, check, waitFor, version, run, numbered } = require('./common');

const connect = (options) => new Redis({ host, port, maxRetriesPerRequest: 0, ...options });

// Between connecting and its ready check, ioredis would send SUBSCRIBE at once and then refuse its
// own INFO, reconnect, and miss what was published meanwhile.
async function ready() {
  const client = connect();
  await once(client, 'ready');
  return client;
}

async function pipelines(redis) {
  const pipeline = redis.pipeline();
  for (let i = 0; i < 500; i++) pipeline.set(`p:${i}`, i).incrby(`p:${i}`, 1000);
  const replies = await pipeline.exec();
  check(
    'pipeline of 1000 in order',
    replies.map(([error, value]) => error || value),
    Array.from({ length: 1000 }, (_, i) => (i % 2 ? 1000 + (i - 1) / 2 : 'OK')),
  );
  const wrong = await redis.pipeline().set('s', 'x').lpush('s', 'y').get('s').exec();
  check(
    'an error in a pipeline stays in its place',
    [wrong[0][1], /WRONGTYPE/.test(wrong[1][0].message), wrong[2][1]],
    ['OK', true, 'x'],
  );
  const auto = connect({ enableAutoPipelining: true });
  const values = await Promise.all(numbered('p', 500).map((_, i) => auto.get(`p:${i}`)));
  check(
    'auto-pipelining',
    values.map(Number),
    Array.from({ length: 500 }, (_, i) => 1000 + i),
  );
  await auto.quit();
}

async function transactions(redis) {
  check(
    'MULTI over many keys',
    await redis.multi().mset('a', 1, 'b', 2, 'c', 3).incr('a').mget('a', 'b', 'c').exec(),
    [
      [null, 'OK'],
      [null, 2],
      [null, ['2', '2', '3']],
    ],
  );
  // Eight clients add to two counters by WATCH, again whenever somebody else was faster.
  await redis.mset('left', 0, 'right', 0);
  await Promise.all(
    numbered('client', 8).map(async () => {
      const mine = connect();
      for (let done = 0; done < 20;) {
        await mine.watch('left', 'right');
        const [left, right] = (await mine.mget('left', 'right')).map(Number);
        if (left !== right) throw new Error(`not ok: a torn transaction: ${left} ${right}`);
        if (
          await mine
            .multi()
            .set('left', left + 1)
            .set('right', right + 1)
            .exec()
        )
          done += 1;
      }
      await mine.quit();
    }),
  );
  check('WATCH loses no increment', await redis.mget('left', 'right'), ['160', '160']);
}

async function scans(redis) {
  const seen = new Set();
  for await (const keys of redis.scanStream({ match: 'p:*', count: 50 }))
    keys.forEach((key) => seen.add(key));
  check('scanStream finds every key', seen.size, 500);
  await redis.hset('h', Object.fromEntries(numbered('f', 700).map((field) => [field, '1'])));
  const fields = new Set();
  for await (const part of redis.hscanStream('h'))
    part.filter((_, i) => i % 2 === 0).forEach((f) => fields.add(f));
  check('hscanStream finds every field', fields.size, 700);
  await redis.sadd('set', numbered('m', 300));
  const members = new Set();
  for await (const part of redis.sscanStream('set')) part.forEach((member) => members.add(member));
  check('sscanStream finds every member', members.size, 300);
  const keys = numbered('big', 300);
  await redis.mset(keys.flatMap((key) => [key, key]));
  check('MGET of 300 keys', await redis.mget(keys), keys);
  check('DEL of 300 keys', await redis.del(keys), 300);
}

async function messages(redis) {
  const channels = numbered('news', 10);
  const listeners = [await ready(), await ready()];
  const heard = listeners.map(() => []);
  for (const [i, listener] of listeners.entries()) {
    listener.on('message', (channel, text) => heard[i].push(`${channel} ${text}`));
    check('SUBSCRIBE to ten channels', await listener.subscribe(...channels), 10);
  }
  const pattern = await ready();
  const byPattern = [];
  pattern.on('pmessage', (_, channel, text) => byPattern.push(`${channel} ${text}`));
  await pattern.psubscribe('news-*');
  const sent = [];
  for (let i = 0; i < 200; i++) {
    const channel = channels[i % 10];
    sent.push(`${channel} ${i}`);
    if ((await redis.publish(channel, String(i))) !== 3)
      throw new Error('not ok: PUBLISH must reach three');
  }
  await waitFor(() => [...heard, byPattern].every((list) => list.length >= sent.length));
  check(
    'everybody hears everything in order',
    [...heard, byPattern].every((l) => l.join() === sent.join()),
  );
  const buffers = await ready();
  const binary = Buffer.from([0, 255, 13, 10, 128]);
  const arrived = new Promise((resolve) => {
    buffers.on('messageBuffer', (_, data) => resolve(data));
  });
  await buffers.subscribe('binary');
  await redis.publish('binary', binary);
  check('binary messages', (await arrived).equals(binary));
  for (const client of [...listeners, pattern, buffers]) client.disconnect();
}

async function blocking(redis) {
  // Four consumers pop from two lists on whatever shards; the ledger is this process.
  const jobs = numbered('job', 200);
  const taken = [];
  const consumers = numbered('c', 4).map(async () => {
    const mine = connect();
    for (;;) {
      const [, job] = await mine.blpop('queue:a', 'queue:b', 0);
      if (job === 'end') break;
      taken.push(job);
    }
    await mine.quit();
  });
  for (const [i, job] of jobs.entries()) await redis.rpush(i % 2 ? 'queue:a' : 'queue:b', job);
  await waitFor(
    () => taken.length >= jobs.length,
    () => `${taken.length} of ${jobs.length}`,
  );
  for (let i = 0; i < 4; i++) await redis.rpush('queue:a', 'end');
  await Promise.all(consumers);
  check('BLPOP gives each job to one consumer', [...taken].sort(), [...jobs].sort());
  const waiter = connect();
  const moved = waiter.blmove('from', 'to', 'LEFT', 'RIGHT', 0);
  await redis.rpush('from', 'x');
  check('BLMOVE', [await moved, await redis.lrange('to', 0, -1)], ['x', ['x']]);
  check('BZPOPMIN times out', await waiter.bzpopmin('nothing', 0.05), null);
  await waiter.quit();
}

async function streams(redis) {
  await redis.xgroup('CREATE', 'log', 'readers', '$', 'MKSTREAM');
  const reader = connect();
  const read = reader.xreadgroup(
    'GROUP',
    'readers',
    'me',
    'COUNT',
    10,
    'BLOCK',
    0,
    'STREAMS',
    'log',
    '>',
  );
  const id = await redis.xadd('log', '*', 'field', 'value');
  check('XREADGROUP BLOCK', await read, [['log', [[id, ['field', 'value']]]]]);
  check('XACK', await redis.xack('log', 'readers', id), 1);
  await reader.quit();
}

async function clients(redis) {
  const other = connect({ db: 3, connectionName: 'third', keyPrefix: 'pre:' });
  await other.set('k', 'v');
  check(
    'db, name and prefix',
    [await other.client('GETNAME'), await redis.exists('pre:k')],
    ['third', 0],
  );
  await redis.select(3);
  check('SELECT', await redis.get('pre:k'), 'v');
  await redis.select(0);
  check('INFO', /redis_version:\d/.test(await redis.info('server')));
  check(
    'EXPIRE and TTL',
    [await redis.set('e', 1, 'EX', 100), (await redis.ttl('e')) > 90],
    ['OK', true],
  );
  await other.quit();
}

async function scripts(redis) {
  redis.defineCommand('addTo', {
    numberOfKeys: 1,
    lua: 'return redis.call("INCRBY", KEYS[1], ARGV[1]) + tonumber(ARGV[2])',
  });
  const added = await Promise.all(numbered('n', 50).map(() => redis.addTo('script:n', 2, 1000)));
  check(
    'defineCommand (EVALSHA)',
    [...added].sort((a, b) => a - b),
    Array.from({ length: 50 }, (_, i) => 1002 + 2 * i),
  );
  redis.defineCommand('double', {
    numberOfKeys: 1,
    lua: 'return redis.call("INCRBY", KEYS[1], redis.call("GET", KEYS[1]))',
  });
  const replies = await redis
    .pipeline()
    .addTo('script:n', 1, 0)
    .double('script:n')
    .get('script:n')
    .exec();
  check('scripts in a pipeline, one of them new', replies, [
    [null, 101],
    [null, 202],
    [null, '202'],
  ]);
}

run(async () => {
  version('ioredis');
  const redis = connect();
  const steps = [pipelines, transactions, scans, messages, blocking, streams, clients, scripts];
  for (const step of steps) await step(redis);
  await redis.quit();
});

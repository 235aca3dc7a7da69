// node-redis in RESP2 and RESP3: pipelines, MULTI, WATCH, scan iterators, pub/sub, blocking pops.
'use strict';
const {
  createClient,
  createClientPool,
  BasicClientSideCache,
  defineScript,
  WatchError,
} = require('redis');
const { url, check, waitFor, version, run, numbered } = require('./common');

const addTo = defineScript({
  SCRIPT: 'return redis.call("INCRBY", KEYS[1], ARGV[1]) + tonumber(ARGV[2])',
  NUMBER_OF_KEYS: 1,
  parseCommand(parser, key, by, more) {
    parser.pushKey(key);
    parser.push(String(by), String(more));
  },
  transformReply: (reply) => reply,
});

async function connect(options) {
  const client = createClient({ url, scripts: { addTo }, ...options });
  client.on('error', (error) => {
    console.error(error);
    process.exit(1);
  });
  await client.connect();
  return client;
}

async function pipelines(redis) {
  const pending = [];
  for (let i = 0; i < 500; i++) pending.push(redis.set(`p:${i}`, i), redis.incrBy(`p:${i}`, 1000));
  check(
    '1000 commands in one tick',
    await Promise.all(pending),
    Array.from({ length: 1000 }, (_, i) => (i % 2 ? 1000 + (i - 1) / 2 : 'OK')),
  );
  const keys = numbered('big', 300);
  await redis.mSet(keys.flatMap((key) => [key, key]));
  check('MGET of 300 keys', await redis.mGet(keys), keys);
  check('DEL of 300 keys', await redis.del(keys), 300);
}

async function transactions(redis, options) {
  check(
    'MULTI over many keys',
    await redis.multi().mSet({ a: '1', b: '2', c: '3' }).incr('a').mGet(['a', 'b', 'c']).exec(),
    ['OK', 2, ['2', '2', '3']],
  );
  await redis.mSet({ left: '0', right: '0' });
  await Promise.all(
    numbered('client', 8).map(async () => {
      const mine = await connect(options);
      for (let done = 0; done < 15;) {
        await mine.watch(['left', 'right']);
        const [left, right] = (await mine.mGet(['left', 'right'])).map(Number);
        if (left !== right) throw new Error(`not ok: a torn transaction: ${left} ${right}`);
        try {
          await mine
            .multi()
            .set('left', left + 1)
            .set('right', right + 1)
            .exec();
          done += 1;
        } catch (error) {
          if (!(error instanceof WatchError)) throw error;
        }
      }
      await mine.close();
    }),
  );
  check('WATCH loses no increment', await redis.mGet(['left', 'right']), ['120', '120']);
}

async function scans(redis) {
  const seen = new Set();
  for await (const keys of redis.scanIterator({ MATCH: 'p:*', COUNT: 50 }))
    keys.forEach((k) => seen.add(k));
  check('scanIterator finds every key', seen.size, 500);
  await redis.hSet('h', Object.fromEntries(numbered('f', 700).map((field) => [field, '1'])));
  const fields = new Set();
  for await (const part of redis.hScanIterator('h')) part.forEach(({ field }) => fields.add(field));
  check('hScanIterator finds every field', fields.size, 700);
  check('HGETALL', Object.keys(await redis.hGetAll('h')).length, 700);
  await redis.zAdd(
    'z',
    numbered('m', 300).map((value, score) => ({ value, score })),
  );
  const members = new Set();
  for await (const part of redis.zScanIterator('z'))
    part.forEach(({ value }) => members.add(value));
  check('zScanIterator finds every member', members.size, 300);
  check('ZRANGE WITHSCORES', await redis.zRangeWithScores('z', 298, -1), [
    { value: 'm-298', score: 298 },
    { value: 'm-299', score: 299 },
  ]);
  check('a score that is no integer', await redis.zIncrBy('z', 0.25, 'm-1'), 1.25);
}

async function messages(redis, options) {
  const channels = numbered('news', 10);
  const listener = await connect(options);
  const heard = [];
  const byPattern = [];
  await listener.subscribe(channels, (text, channel) => heard.push(`${channel} ${text}`));
  await listener.pSubscribe('news-*', (text, channel) => byPattern.push(`${channel} ${text}`));
  const sent = [];
  for (let i = 0; i < 200; i++) {
    const channel = channels[i % 10];
    sent.push(`${channel} ${i}`);
    if ((await redis.publish(channel, String(i))) !== 2)
      throw new Error('not ok: PUBLISH must reach two');
  }
  await waitFor(() => heard.length >= 200 && byPattern.length >= 200);
  check('messages in order', [heard.join(), byPattern.join()], [sent.join(), sent.join()]);
  if (options.RESP === 3)
    check('RESP3: a subscriber may ask other things', await listener.get('left'), '120');
  await listener.sSubscribe('shard channel', (text) => heard.push(text));
  await redis.sPublish('shard channel', 'sharded');
  await waitFor(() => heard.at(-1) === 'sharded');
  await listener.unsubscribe(channels); // without names, 5.12 waits for ever behind any server
  await listener.pUnsubscribe('news-*');
  await listener.sUnsubscribe('shard channel');
  check('nobody listens any more', await redis.publish('news-1', 'x'), 0);
  await listener.close();
}

async function blocking(redis) {
  const pool = createClientPool({ url }, { minimum: 4, maximum: 4 });
  await pool.connect();
  const jobs = numbered('job', 200);
  const taken = [];
  const consumers = numbered('c', 4).map(async () => {
    for (;;) {
      const { element } = await pool.blPop(['queue:a', 'queue:b'], 0);
      if (element === 'end') return;
      taken.push(element);
    }
  });
  for (const [i, job] of jobs.entries()) await redis.rPush(i % 2 ? 'queue:a' : 'queue:b', job);
  await waitFor(
    () => taken.length >= jobs.length,
    () => `${taken.length} of ${jobs.length}`,
  );
  for (let i = 0; i < 4; i++) await redis.rPush('queue:b', 'end');
  await Promise.all(consumers);
  check('BLPOP gives each job to one consumer', [...taken].sort(), [...jobs].sort());
  const popped = pool.bzPopMin('scores', 0);
  await redis.zAdd('scores', { value: 'x', score: 1.5 });
  check('BZPOPMIN', await popped, { key: 'scores', value: 'x', score: 1.5 });
  await pool.close();
}

async function streams(redis, options) {
  const reader = await connect(options);
  await redis.xGroupCreate('log', 'readers', '$', { MKSTREAM: true });
  const read = reader.xReadGroup('readers', 'me', { key: 'log', id: '>' }, { BLOCK: 0, COUNT: 10 });
  const id = await redis.xAdd('log', '*', { field: 'value' });
  if (options.RESP === 3) {
    // node-redis gives RESP3's map as it comes
    check('XREADGROUP BLOCK', { ...(await read) }, { log: [[id, ['field', 'value']]] });
  } else {
    const [log] = await read;
    check(
      'XREADGROUP BLOCK',
      [log.name, log.messages.map((m) => [m.id, m.message.field])],
      ['log', [[id, 'value']]],
    );
  }
  check('XACK', await redis.xAck('log', 'readers', id), 1);
  await reader.close();
}

async function typesOfReplies(redis) {
  await redis.sAdd('set', ['x', 'y']);
  check('SMEMBERS', (await redis.sMembers('set')).sort(), ['x', 'y']);
  check('GET of nothing', await redis.get('nothing'), null);
  check('HELLO', (await redis.hello()).server, 'redis');
  check('CLIENT INFO', typeof (await redis.clientInfo()).id, 'number');
  check('OBJECT ENCODING', await redis.objectEncoding('a'), 'int');
  await redis.set('binary', Buffer.from([0, 255, 13, 10]));
  const bytes = redis.withTypeMapping({ 36: Buffer });
  check('binary values', [...(await bytes.get('binary'))], [0, 255, 13, 10]);
}

async function scripts(redis) {
  const added = await Promise.all(numbered('n', 50).map(() => redis.addTo('script:n', 2, 1000)));
  check(
    'defineScript (EVALSHA, then EVAL)',
    added,
    Array.from({ length: 50 }, (_, i) => 1002 + 2 * i),
  );
  await redis.scriptFlush();
  check('a script in MULTI', await redis.multi().addTo('script:n', 1, 0).get('script:n').exec(), [
    101,
    '101',
  ]);
}

// Client-side caching: the second read does not ask the server, a write elsewhere ends that.
async function cached() {
  const other = await connect({ RESP: 3 });
  const [tracking] = await other.sendCommand(['COMMAND', 'INFO', 'client|tracking']);
  if (!tracking) return console.log('left out: the server has no CLIENT TRACKING');
  const cache = new BasicClientSideCache({ ttl: 0, maxEntries: 100 });
  const client = await connect({ RESP: 3, clientSideCache: cache });
  await other.set('cached', '1');
  check('a cached read', [await client.get('cached'), await client.get('cached')], ['1', '1']);
  check('the second one did not ask the server', cache.stats().hitCount, 1);
  await other.set('cached', '2');
  await waitFor(async () => (await client.get('cached')) === '2');
  check('an invalidated read', await client.get('cached'), '2');
  await client.close();
  await other.close();
}

run(async () => {
  version('redis');
  for (const RESP of [2, 3]) {
    const options = { RESP };
    const redis = await connect(options);
    await redis.flushAll();
    for (const step of [
      pipelines,
      transactions,
      scans,
      messages,
      blocking,
      streams,
      typesOfReplies,
      scripts,
    ]) {
      await step(redis, options);
    }
    await redis.close();
  }
  await cached();
});

// BullMQ: two worker processes; plain, prioritized, retried, delayed, repeated jobs, flows, and
// the job of a worker that is killed. The ledger is files, see common.py.
//
// The program starts itself as workers: `bullmq.js work` and, for the killed one, `bullmq.js die`.
'use strict';
const { fork } = require('node:child_process');
const { once } = require('node:events');
const { Queue, Worker, QueueEvents, FlowProducer } = require('bullmq');
const { host, port, Ledger, check, waitFor, version, run, sleep, numbered } = require('./common');

const connection = { host, port };
const DELAY_MS = 1000;
const done = new Ledger('done');
const tried = new Ledger('tried');
const repeated = new Ledger('repeated');
const saved = new Ledger('saved');

async function act(job) {
  if (job.name === 'stubborn') {
    // fails twice, then succeeds
    tried.write(job.data.name);
    if (tried.counts().get(job.data.name) < 3) throw new Error(`${job.data.name} is not done yet`);
  } else if (job.name === 'hopeless') {
    tried.write(job.data.name);
    throw new Error('never works');
  } else if (job.name === 'tick') {
    repeated.write(job.id);
    return 'tick';
  } else if (job.name === 'parent') {
    const children = Object.values(await job.getChildrenValues());
    done.write(job.data.name);
    return children.sort().join();
  }
  await job.updateProgress(50);
  done.write(job.data.name);
  return job.data.name.toUpperCase();
}

function work() {
  const workers = ['fast', 'slow'].map(
    (name) => new Worker(name, act, { connection, concurrency: 8 }),
  );
  workers.forEach((worker) =>
    worker.on('error', (error) => {
      console.error(error);
      process.exit(1);
    }),
  );
  process.on('SIGTERM', async () => {
    await Promise.all(workers.map((worker) => worker.close()));
    process.exit(0);
  });
  process.send('ready');
}

// A worker whose locks last a second; the first to have the job never ends it.
function die() {
  const worker = new Worker(
    'fragile',
    async (job) => {
      tried.write(job.data.name);
      if (tried.counts().get(job.data.name) === 1) await sleep(600000);
      saved.write(job.data.name);
    },
    { connection, lockDuration: 1000, stalledInterval: 500 },
  );
  worker.on('error', (error) => console.error(error));
  process.send('ready');
}

async function start(how) {
  const child = fork(__filename, [how]);
  await once(child, 'message');
  return child;
}

async function busyDay() {
  const [fast, slow] = ['fast', 'slow'].map((name) => new Queue(name, { connection }));
  const events = ['fast', 'slow'].map((name) => new QueueEvents(name, { connection }));
  const completed = [];
  for (const source of events) {
    source.on('completed', ({ jobId }) => completed.push(jobId));
    await source.waitUntilReady();
  }
  const plain = numbered('plain', 150);
  await Promise.all(plain.map((name, i) => (i % 2 ? fast : slow).add('plain', { name })));
  const bulk = numbered('bulk', 100);
  await fast.addBulk(
    bulk.map((name, i) => ({ name: 'plain', data: { name }, opts: { priority: 1 + (i % 7) } })),
  );
  const stubborn = numbered('stubborn', 10);
  for (const [i, name] of stubborn.entries()) {
    await slow.add(
      'stubborn',
      { name },
      { attempts: 3, backoff: i % 2 ? { type: 'exponential', delay: 200 } : 0 },
    );
  }
  const hopeless = await slow.add('hopeless', { name: 'hopeless' }, { attempts: 2 });
  const due = new Map();
  for (const name of numbered('delayed', 10)) {
    due.set(name, Date.now() + DELAY_MS);
    await fast.add('delayed', { name }, { delay: DELAY_MS });
  }
  for (let i = 0; i < 5; i++) await slow.add('plain', { name: 'once' }, { jobId: 'the-same' });
  await fast.upsertJobScheduler('ticker', { every: 300, limit: 3 }, { name: 'tick' });
  check(
    'counts before work',
    [await slow.count(), (await fast.getJobCounts('prioritized')).prioritized],
    [87, 100],
  );

  const workers = [await start('work'), await start('work')];
  const flow = await new FlowProducer({ connection }).add({
    name: 'parent',
    queueName: 'slow',
    data: { name: 'parent' },
    children: numbered('child', 8).map((name, i) => ({
      name: 'child',
      queueName: i % 2 ? 'fast' : 'slow',
      data: { name },
    })),
  });
  const answer = await (
    await fast.add('plain', { name: 'asked' })
  ).waitUntilFinished(events[0], 60000);
  check('a job that is waited for', answer, 'ASKED');
  const wanted = [
    ...plain,
    ...bulk,
    ...stubborn,
    ...due.keys(),
    'once',
    'asked',
    'parent',
    ...numbered('child', 8),
  ];
  await done.complete(wanted);
  const times = done.times();
  check(
    'nothing delayed comes early',
    [...due].filter(([name, at]) => times.get(name) < at),
    [],
  );
  await waitFor(async () => (await slow.getJob(flow.job.id)).finishedOn);
  check(
    "the parent has its children's results",
    (await slow.getJob(flow.job.id)).returnvalue,
    numbered('CHILD', 8).join(),
  );
  await waitFor(async () => (await hopeless.getState()) === 'failed');
  check(
    'tries',
    [...tried.counts()].filter(([, count]) => count !== 3),
    [['hopeless', 2]],
  );
  await waitFor(
    () => repeated.lines().length >= 3,
    () => `${repeated.lines().length} repetitions`,
  );
  await waitFor(
    async () =>
      (await fast.getJobCounts('completed')).completed +
        (await slow.getJobCounts('completed')).completed ===
      wanted.length + 3,
  );
  check('repeated three times', [...repeated.counts().values()], [1, 1, 1]);
  await waitFor(
    () => completed.length >= wanted.length + 3,
    () => `${completed.length} events`,
  );
  check('an event for each, once', completed.length, wanted.length + 3);
  for (const queue of [fast, slow]) {
    const { completed: _, failed, ...left } = await queue.getJobCounts();
    check(
      'nothing is left over',
      [Object.values(left).reduce((a, b) => a + b), failed],
      [0, queue === slow ? 1 : 0],
    );
  }
  for (const worker of workers) {
    worker.kill('SIGTERM');
    check('a worker ends well', (await once(worker, 'exit'))[0], 0);
  }
  await fast.obliterate({ force: true });
  check('obliterate', (await fast.getJobs()).length, 0);
}

async function killedWorker() {
  const queue = new Queue('fragile', { connection });
  const first = await start('die');
  await queue.add('fragile', { name: 'fragile' });
  await waitFor(() => tried.counts().get('fragile') === 1);
  first.kill('SIGKILL');
  const second = await start('die');
  await saved.complete(['fragile']);
  check('the job of a killed worker is done by another', tried.counts().get('fragile'), 2);
  second.kill('SIGKILL');
}

if (process.argv[2]) {
  ({ work, die })[process.argv[2]]();
} else {
  run(async () => {
    version('bullmq');
    await busyDay();
    await killedWorker();
  });
}

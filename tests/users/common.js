// What the node programs of tests/users share: the ledger, checks, where the server is. See common.py.
'use strict';
const fs = require('node:fs');
const path = require('node:path');
const { isDeepStrictEqual, inspect } = require('node:util');

const host = '127.0.0.1';
const port = Number(process.env.USERS_PORT || 6379);
const folder = process.env.USERS_FOLDER || '.';
const PATIENCE_MS = 60000; // for what must happen; nothing is measured

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

class Ledger {
  constructor(name) {
    this.path = path.join(folder, name);
    fs.closeSync(fs.openSync(this.path, 'a'));
  }

  write(what) {
    // one write to a file opened for appending: lines of several processes never mix
    fs.appendFileSync(this.path, `${what} ${Date.now()}\n`);
  }

  lines() {
    return fs
      .readFileSync(this.path, 'utf8')
      .split('\n')
      .slice(0, -1)
      .map((line) => line.split(' '));
  }

  counts() {
    const counts = new Map();
    for (const [what] of this.lines()) counts.set(what, (counts.get(what) || 0) + 1);
    return counts;
  }

  times() {
    return new Map(this.lines().map(([what, at]) => [what, Number(at)]));
  }

  // Waits until all of these are there, then checks that each is there once, and no other.
  async complete(wanted) {
    const missing = () => wanted.filter((what) => !this.counts().has(what));
    await waitFor(
      () => missing().length === 0,
      () => `missing: ${missing().slice(0, 10)}`,
    );
    await sleep(300); // what is done twice is done twice soon
    const counts = [...this.counts()];
    check(
      'no job done twice',
      counts.filter(([, n]) => n !== 1),
      [],
    );
    check(
      'no job from nowhere',
      counts.filter(([what]) => !wanted.includes(what)),
      [],
    );
  }
}

function check(what, got, wanted = true) {
  if (!isDeepStrictEqual(got, wanted)) {
    throw new Error(`not ok: ${what}: ${inspect(got)}, not ${inspect(wanted)}`);
  }
  console.log(`ok ${what}`);
}

async function waitFor(isTrue, why = () => '', ms = PATIENCE_MS) {
  const deadline = Date.now() + ms;
  while (!(await isTrue())) {
    if (Date.now() > deadline) throw new Error(`not ok: waited ${ms} ms in vain; ${why()}`);
    await sleep(20);
  }
}

// The version of an installed package, whatever its package.json exports.
function version(name) {
  const root = path.join(process.env.NODE_PATH, name, 'package.json');
  console.log(`version ${JSON.parse(fs.readFileSync(root, 'utf8')).version}`);
}

// Runs a program's main function: any error or forgotten rejection is an exit code.
function run(main) {
  process.on('unhandledRejection', (error) => {
    console.error(error);
    process.exit(1);
  });
  main().then(
    () => process.exit(0),
    (error) => {
      console.error(error);
      process.exit(1);
    },
  );
}

const numbered = (name, count) => Array.from({ length: count }, (_, i) => `${name}-${i}`);

module.exports = {
  host,
  port,
  folder,
  url: `redis://${host}:${port}`,
  Ledger,
  check,
  waitFor,
  version,
  run,
  sleep,
  numbered,
};

// connect-redis under express: two processes of a web application share their sessions in Redis.
'use strict';
const express = require('express');
const session = require('express-session');
const { createClient } = require('redis');
const { RedisStore } = require('connect-redis');
const { url, check, version, run, sleep, waitFor, numbered } = require('./common');

async function application(redis, ttl) {
  const app = express();
  app.use(
    session({
      store: new RedisStore({ client: redis, prefix: 'sess:', ttl }),
      secret: 'loopback only',
      resave: false,
      saveUninitialized: false,
    }),
  );
  app.get('/login/:user', (request, response) => {
    request.session.user = request.params.user;
    request.session.visits = 0;
    response.send('hello');
  });
  app.get('/visit', (request, response) => {
    if (!request.session.user) return response.status(401).send('who?');
    request.session.visits += 1;
    return response.json({ user: request.session.user, visits: request.session.visits });
  });
  app.get('/logout', (request, response) => request.session.destroy(() => response.send('bye')));
  const server = app.listen(0, '127.0.0.1');
  await new Promise((resolve) => {
    server.on('listening', resolve);
  });
  return `http://127.0.0.1:${server.address().port}`;
}

class Browser {
  async get(address) {
    const answer = await fetch(address, { headers: this.cookie ? { cookie: this.cookie } : {} });
    const cookie = answer.headers.get('set-cookie');
    if (cookie) this.cookie = cookie.split(';')[0];
    const text = await answer.text();
    return answer.status === 200 && text.startsWith('{') ? JSON.parse(text) : answer.status;
  }
}

async function connect() {
  const client = createClient({ url });
  client.on('error', (error) => {
    console.error(error);
    process.exit(1);
  });
  return client.connect();
}

run(async () => {
  version('connect-redis');
  const redis = await connect();
  const [one, two] = [await application(redis, 3600), await application(await connect(), 3600)];

  const browsers = numbered('user', 50).map((name) => ({ name, browser: new Browser() }));
  await Promise.all(browsers.map(({ name, browser }) => browser.get(`${one}/login/${name}`)));
  const visits = [];
  for (const { name, browser } of browsers) {
    for (let i = 1; i <= 4; i++)
      visits.push([await browser.get(`${i % 2 ? two : one}/visit`), name, i]);
  }
  check(
    'a session is the same in both processes',
    visits.every(([r, name, i]) => r.user === name && r.visits === i),
  );

  const store = new RedisStore({ client: redis, prefix: 'sess:' });
  check('store.length', await store.length(), 50);
  check('store.ids', new Set(await store.ids()).size, 50);
  check(
    'store.all',
    (await store.all()).map((s) => s.user).sort(),
    browsers.map((b) => b.name).sort(),
  );

  await browsers[0].browser.get(`${two}/logout`);
  check('logged out everywhere', await browsers[0].browser.get(`${one}/visit`), 401);
  check('others are not', (await browsers[1].browser.get(`${one}/visit`)).visits, 5);

  const hasty = await application(redis, 1);
  const browser = new Browser();
  await browser.get(`${hasty}/login/hasty`);
  await waitFor(async () => {
    await sleep(300); // reading alone does not prolong it: `visit` does
    return (await store.length()) === 49;
  });
  check('a session expires', await browser.get(`${hasty}/visit`), 401);
  await store.clear();
  check('store.clear', await store.length(), 0);
});

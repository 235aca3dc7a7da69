// socket.io with both Redis adapters: messages fan out between two node processes.
//
// The program starts itself twice more as servers; the clients (six, three at each server) and the
// record of what they heard are here.
'use strict';
const { fork } = require('node:child_process');
const { once } = require('node:events');
const http = require('node:http');
const { Server } = require('socket.io');
const { io: connect } = require('socket.io-client');
const { createAdapter, createShardedAdapter } = require('@socket.io/redis-adapter');
const streams = require('@socket.io/redis-streams-adapter');
const { createClient } = require('redis');
const Redis = require('ioredis');
const { host, port, url, check, waitFor, version, run, numbered } = require('./common');

async function adapter(kind) {
  if (kind === 'pub/sub by ioredis') {
    const pair = [new Redis({ host, port }), new Redis({ host, port })];
    await Promise.all(pair.map((client) => once(client, 'ready')));
    return createAdapter(...pair);
  }
  const pub = await createClient({ url }).on('error', console.error).connect();
  const sub = await pub.duplicate().on('error', console.error).connect();
  if (kind === 'streams') return streams.createAdapter(pub, { blockTimeInMs: 500 });
  return kind === 'sharded pub/sub' ? createShardedAdapter(pub, sub) : createAdapter(pub, sub);
}

async function serve(kind) {
  const server = http.createServer();
  const io = new Server(server, { adapter: await adapter(kind) });
  io.on('connection', (socket) => {
    socket.on('join', async (room, done) => {
      await socket.join(room);
      done();
    });
    socket.on('say', (room, text) => io.to(room).emit('said', text));
    socket.on('all', (text) => io.emit('said', text));
    socket.on('count', async (room, done) => done((await io.in(room).fetchSockets()).length));
    socket.on('ask', (done) => io.timeout(20000).emit('question', (_, answers) => done(answers)));
  });
  io.on('ping', (done) => done(process.pid));
  process.on('message', (command) => {
    if (command === 'peers') {
      io.serverSideEmit('ping', (error, replies) =>
        process.send({ peers: error ? -1 : replies.length }),
      );
    }
  });
  server.listen(0, '127.0.0.1', () => process.send({ port: server.address().port }));
}

const answer = (child) =>
  new Promise((resolve, reject) => {
    child.once('message', resolve);
    child.once('exit', (code) => reject(new Error(`not ok: a server ended with ${code}`)));
  });

async function peers(child) {
  child.send('peers');
  return (await answer(child)).peers;
}

async function fanOut(kind) {
  const children = [fork(__filename, [kind]), fork(__filename, [kind])];
  const ports = [];
  for (const child of children) ports.push((await answer(child)).port);
  for (const child of children) await waitFor(async () => (await peers(child)) === 1);
  const heard = numbered('client', 6).map(() => []);
  const sockets = heard.map((list, i) => {
    const socket = connect(`http://127.0.0.1:${ports[i % 2]}`, { transports: ['websocket'] });
    socket.on('said', (text) => list.push(text));
    socket.on('question', (done) => done(i));
    return socket;
  });
  await waitFor(() => sockets.every((socket) => socket.connected));
  const room = (i) => (i < 4 ? 'red' : 'blue'); // clients 0 to 3, at both servers; 4 and 5
  for (const [i, socket] of sockets.entries()) await socket.emitWithAck('join', room(i));
  await waitFor(async () => (await sockets[0].emitWithAck('count', 'red')) === 4);
  check(
    `${kind}: fetchSockets sees both servers`,
    await sockets[1].emitWithAck('count', 'blue'),
    2,
  );

  const red = numbered('red', 50);
  const blue = numbered('blue', 50);
  const all = numbered('all', 50);
  red.forEach((text) => sockets[0].emit('say', 'red', text));
  blue.forEach((text) => sockets[1].emit('say', 'blue', text));
  all.forEach((text) => sockets[2].emit('all', text));
  const wanted = (i) => (room(i) === 'red' ? red : blue).concat(all);
  await waitFor(
    () => heard.every((list, i) => list.length >= wanted(i).length),
    () => `heard ${heard.map((list) => list.length)}`,
  );
  const part = (list, name) => list.filter((text) => text.startsWith(name)).join();
  check(
    `${kind}: every room hears all of its own, in order`,
    heard.map((list, i) => [part(list, room(i)), part(list, 'all'), list.length]),
    heard.map((_, i) => [(room(i) === 'red' ? red : blue).join(), all.join(), 100]),
  );
  const answers = await sockets[3].emitWithAck('ask');
  check(`${kind}: acknowledgements of both servers`, [...answers].sort(), [0, 1, 2, 3, 4, 5]);
  sockets.forEach((socket) => socket.disconnect());
  for (const child of children) child.kill('SIGKILL');
}

if (process.argv[2]) {
  serve(process.argv[2]);
} else {
  run(async () => {
    version('socket.io');
    for (const kind of [
      'pub/sub by node-redis',
      'pub/sub by ioredis',
      'sharded pub/sub',
      'streams',
    ]) {
      await fanOut(kind);
    }
  });
}

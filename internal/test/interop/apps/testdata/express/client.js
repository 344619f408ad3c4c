// A client of socket.io: node client.js URL TRANSPORT… It prints what it saw.
const { io } = require('socket.io-client');

const [url, ...transports] = process.argv.slice(2);
const fail = (reason) => {
  console.error(String(reason));
  process.exit(1);
};
setTimeout(() => fail('nothing came for 20 s'), 20000).unref();

const socket = io(url, { transports, reconnection: false, forceNew: true });
socket.on('connect_error', fail);
const seen = {};
let upgraded = Promise.resolve();
socket.io.on('open', () => {
  seen.began = socket.io.engine.transport.name;
  if (transports.length > 1) upgraded = new Promise((done) => socket.io.engine.once('upgrade', done));
});
socket.on('connect', async () => {
  await upgraded;
  seen.now = socket.io.engine.transport.name;
  seen.text = await socket.emitWithAck('echo', 'grüße');
  const bytes = Buffer.alloc(2_000_000, 'abcdefg');
  seen.binary = bytes.equals(Buffer.from(await socket.emitWithAck('echo', bytes)));
  const numbers = [];
  const all = new Promise((done) => {
    socket.on('number', (n) => {
      if (numbers.push(n) === 1000) done();
    });
  });
  socket.emit('count', 1000);
  await all;
  seen.inOrder = numbers.every((n, i) => n === i);
  console.log(JSON.stringify(seen));
  socket.disconnect();
});

// What people write with Express: node server.js HOST PORT
const { createHash } = require('node:crypto');
const { createServer } = require('node:http');
const cookies = require('cookie-parser');
const express = require('express');
const multer = require('multer');
const { Server } = require('socket.io');

const app = express();
app.set('trust proxy', 'loopback');
app.use(cookies());

const sum = (bytes) => ({ size: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') });

app.get('/who', (req, res) => {
  res.json({ url: `${req.protocol}://${req.host}`, name: req.hostname, secure: req.secure, ip: req.ip, ips: req.ips });
});

app.get('/cookies', (req, res) => {
  res.cookie('session', 'a b=c', { httpOnly: true, sameSite: 'lax', secure: req.secure });
  res.cookie('theme', 'dark', { path: '/cookies' });
  res.json(req.cookies);
});

app.post('/upload', multer({ storage: multer.memoryStorage() }).single('file'), (req, res) => {
  res.json({ title: req.body.title, name: req.file.originalname, ...sum(req.file.buffer) });
});

app.post('/raw', express.raw({ type: () => true, limit: '64mb' }), (req, res) => res.json(sum(req.body)));

// Server-sent events: the next one is sent when somebody asks for it.
const listeners = new Map();
app.get('/events/:name', (req, res) => {
  res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' });
  res.write('data: 0\n\n');
  listeners.set(req.params.name, res);
  res.on('close', () => listeners.delete(req.params.name));
});
app.post('/events/:name/:number', (req, res) => {
  listeners.get(req.params.name)?.write(`data: ${req.params.number}\n\n`);
  res.sendStatus(204);
});
app.get('/listeners/:name', (req, res) => res.json(listeners.has(req.params.name)));

app.get('/hints', (req, res) => {
  res.writeEarlyHints({ link: ['</style.css>; rel=preload; as=style', '</app.js>; rel=preload; as=script'] });
  res.send('hinted');
});

app.get('/die', (req) => req.socket.destroy());
app.get('/half', (req, res) => {
  res.writeHead(200, { 'Content-Length': 1000 });
  res.write('half', () => req.socket.destroy());
});

app.get('/back', (req, res) => res.redirect('/who'));
app.get('/throw', () => {
  const failure = new Error('on purpose');
  failure.expose = false;
  failure.stack = '';
  throw failure;
});

const server = createServer(app);
new Server(server, { maxHttpBufferSize: 8e6 }).on('connection', (socket) => {
  socket.on('echo', (message, answer) => answer(message));
  socket.on('count', (n) => {
    for (let i = 0; i < n; i++) socket.emit('number', i);
  });
});
const [host, port] = process.argv.slice(2);
server.listen(Number(port), host, () => console.log('listening'));

'use strict';
/**
 * compile.cjs VTEPD.JS: runs the bundle and leaves what V8 compiled on the way in VTEPD.JS.cache. It runs an agent, in a network
 * namespace of its own, from its start until it has a peer; where that is not possible (no root, no vxlan), a command that asks
 * etcd. The etcd is a few lines here; what the bundle prints is not shown.
 */
const { spawnSync } = require('node:child_process');
const {
  closeSync,
  existsSync,
  fsyncSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} = require('node:fs');
const { Buffer } = require('node:buffer');
const http2 = require('node:http2');
const { tmpdir } = require('node:os');
const { dirname, join, resolve } = require('node:path');
const { clearInterval, setInterval, setTimeout } = require('node:timers');
const { setFlagsFromString } = require('node:v8');
const { Script } = require('node:vm');
const Module = require('node:module');

const CONFIG = '{"Network": "10.5.0.0/16", "Backend": {"Type": "vxlan"}}';
const PREFIX = '/coreos.com/network';
const REHEARSAL_MILLISECONDS = 20_000;

function varint(value) {
  const bytes = [];
  for (; value > 127; value = Math.floor(value / 128)) bytes.push((value % 128) | 128);
  return Buffer.from([...bytes, value]);
}

/** Fields of a protobuf message: numbers, texts and messages by their field numbers. */
function message(fields) {
  const parts = Object.entries(fields).flatMap(([number, value]) => {
    if (typeof value === 'number') return [varint(number << 3), varint(value)];
    const bytes = Buffer.from(value);
    return [varint((number << 3) | 2), varint(bytes.length), bytes];
  });
  return Buffer.concat(parts);
}

/** The lease of a host, as an mvccpb.KeyValue. */
function leaseOf(host) {
  const data = `{"VNI":1,"VtepMAC":"02:00:00:00:00:${String(host).padStart(2, '0')}"}`;
  const value = `{"PublicIP":"192.0.2.${host}","PublicIPv6":null,"BackendType":"vxlan","BackendData":${data}}`;
  return message({ 1: `${PREFIX}/subnets/10.5.${host}.0-24`, 2: host, 3: host, 5: value, 6: host });
}

const header = message({ 3: 100 });
/** What etcd answers, by the end of the method's path: one message for each request, and more where it watches. */
const ANSWERS = {
  'KV/Range': (request) => [
    request.includes(`${PREFIX}/subnets/`)
      ? Buffer.concat([message({ 1: header }), ...[2, 3, 4].map((host) => message({ 2: leaseOf(host) }))])
      : message({ 1: header, 2: message({ 1: `${PREFIX}/config`, 5: CONFIG }) }),
  ],
  'KV/Txn': () => [message({ 1: header, 2: 1 })],
  'Lease/LeaseGrant': () => [message({ 1: header, 2: 77, 3: 86_400 })],
  'Lease/LeaseKeepAlive': () => [message({ 1: header, 2: 77, 3: 86_400 })],
  'Watch/Watch': () => [
    message({ 1: header, 3: 1 }),
    message({ 1: header, 11: message({ 2: leaseOf(5) }) }),
    message({ 1: header, 11: message({ 2: leaseOf(6) }) }),
  ],
};

const etcd = http2.createServer().on('stream', (stream, { ':path': path }) => {
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
  stream.on('error', () => undefined);
  const [, method] = path.split('.');
  stream.on('data', (request) => {
    for (const answer of ANSWERS[method](request))
      stream.write(
        Buffer.concat([
          Buffer.alloc(1),
          Buffer.from([0, 0, answer.length >> 8, answer.length & 255]),
          answer,
        ]),
      );
    if (method !== 'Watch/Watch') stream.end();
  });
});

/** What an agent loads long after its start it loads at once. */
function hurry() {
  globalThis.setTimeout = (callback, milliseconds, ...args) =>
    setTimeout(callback, Math.min(milliseconds, 100), ...args);
}

/** All of it or nothing, also after a power cut. It begins with the stamp of the bundle, which the launcher compares. */
function keep(file, stamp, compiled) {
  const fresh = `${file}.cache.new`;
  const descriptor = openSync(fresh, 'w');
  writeFileSync(descriptor, Buffer.concat([Buffer.from(stamp, 'latin1'), compiled]));
  fsyncSync(descriptor);
  closeSync(descriptor);
  renameSync(fresh, `${file}.cache`);
}

/** A directory that goes when this process ends. */
function temporaryDirectory() {
  const directory = mkdtempSync(join(tmpdir(), 'vtepd-build-'));
  process.on('exit', () => rmSync(directory, { recursive: true }));
  return directory;
}

/** The options of this host are for its agent, and not for this one: it has a file of its own, so that reading one is compiled, too. */
function ownOptions() {
  const conf = join(temporaryDirectory(), 'vtepd.conf');
  writeFileSync(conf, `# Options.\netcd-prefix=${PREFIX}\n`);
  return conf;
}

/** Runs the bundle with these words, and keeps what was compiled when it ends. */
function run(file, words) {
  const source = readFileSync(file, 'latin1');
  const script = new Script(source, { filename: file });
  process.argv = [
    process.execPath,
    file,
    ...words,
    `--config-file=${ownOptions()}`,
    `--etcd-endpoints=http://127.0.0.1:${etcd.address().port}`,
  ];
  const said = [];
  // Like a stream that takes everything at once: the bundle ends when what it said has been taken.
  process.stdout.write = process.stderr.write = (text, ...rest) => {
    said.push(String(text));
    rest.findLast((each) => typeof each === 'function')?.();
    return true;
  };
  process.on('exit', (code) => {
    if (code !== 0) throw new Error(`the bundle does not run: ${said.join('')}`);
    // As they are when an agent starts: V8 takes only what was compiled under the flags of its own.
    setFlagsFromString('--opt');
    setFlagsFromString('--sparkplug');
    setFlagsFromString('--semi-space-growth-factor=2');
    keep(file, source.slice(2, 18), script.createCachedData());
  });
  script.runInThisContext().call({}, {}, Module.createRequire(file), { exports: {} }, file, dirname(file));
}

function rehearse(file) {
  // What this agent would leave in /run is of a namespace whose number is another's soon. Where that may not be hidden, it stays.
  spawnSync('mount', ['-t', 'tmpfs', 'tmpfs', '/run']);
  const ip = (...words) => {
    const { status, stderr } = spawnSync('ip', words, { encoding: 'utf8' });
    if (status !== 0) throw new Error(`ip ${words.join(' ')}: ${stderr}`);
  };
  ip('link', 'set', 'lo', 'up');
  ip('link', 'add', 'underlay', 'type', 'veth', 'peer', 'name', 'other');
  ip('address', 'add', '192.0.2.1/24', 'dev', 'underlay');
  ip('link', 'set', 'underlay', 'up');
  ip('link', 'set', 'other', 'up');
  const directory = temporaryDirectory();
  const subnetFile = join(directory, 'subnet.env');
  hurry();
  run(file, ['--iface=underlay', `--subnet-file=${subnetFile}`, `--state-file=${join(directory, 'state')}`]);
  const timer = setInterval(() => {
    if (!existsSync(subnetFile)) return;
    clearInterval(timer);
    setTimeout(() => process.emit('SIGTERM'), 500);
  }, 10);
}

// gRPC would ask a proxy for an etcd that is right here.
for (const name of ['grpc_proxy', 'https_proxy', 'http_proxy']) delete process.env[name];
for (const name of Object.keys(process.env).filter((each) => each.startsWith('FLANNELD_')))
  delete process.env[name];

const file = resolve(process.argv[2]);
if (process.argv[3] === 'rehearse') {
  etcd.listen(0, () => rehearse(file));
} else {
  const words = ['--net', '--mount', process.execPath, process.argv[1], file, 'rehearse'];
  const { status } = spawnSync('unshare', words, { timeout: REHEARSAL_MILLISECONDS, stdio: 'inherit' });
  if (status !== 0) etcd.listen(0, '127.0.0.1', () => run(file, ['config', 'get']));
}

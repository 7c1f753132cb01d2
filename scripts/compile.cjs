'use strict';
/**
 * compile.cjs VTEPD.JS: runs one command of the bundle and leaves what V8 compiled on the way in VTEPD.JS.cache. The command asks
 * an etcd, which is a few lines here, so that the functions an agent needs first are among them; what it prints is not shown.
 */
const { readFileSync, writeFileSync } = require('node:fs');
const { Buffer } = require('node:buffer');
const http2 = require('node:http2');
const Module = require('node:module');
const { dirname, resolve } = require('node:path');
const { Script } = require('node:vm');

const CONFIG = '{"Network": "10.5.0.0/16", "Backend": {"Type": "vxlan"}}';

/** A field of a protobuf message that has a length; all are shorter than 128 bytes. */
function field(number, content) {
  const bytes = Buffer.from(content);
  return Buffer.concat([Buffer.from([(number << 3) | 2, bytes.length]), bytes]);
}

/** An etcdserverpb.RangeResponse in a gRPC message: revision 1, and the configuration. */
function answer() {
  const header = field(1, [0x18, 1]);
  const keyValue = field(2, Buffer.concat([field(1, '/coreos.com/network/config'), field(5, CONFIG)]));
  const message = Buffer.concat([header, keyValue]);
  return Buffer.concat([Buffer.from([0, 0, 0, 0, message.length]), message]);
}

const etcd = http2.createServer().on('stream', (stream) => {
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
  stream.end(answer());
});

// gRPC would ask a proxy for an etcd that is right here.
for (const name of ['grpc_proxy', 'https_proxy', 'http_proxy']) delete process.env[name];

etcd.listen(0, '127.0.0.1', () => {
  const file = resolve(process.argv[2]);
  const script = new Script(Module.wrap(readFileSync(file, 'utf8')), { filename: file });
  process.argv = [
    process.execPath,
    file,
    'config',
    'get',
    `--etcd-endpoints=http://127.0.0.1:${etcd.address().port}`,
  ];
  const said = [];
  process.stdout.write = process.stderr.write = (text) => said.push(String(text));
  process.on('exit', (code) => {
    if (code !== 0) throw new Error(`the bundle does not run: ${said.join('')}`);
    writeFileSync(`${file}.cache`, script.createCachedData());
  });
  script.runInThisContext().call({}, {}, Module.createRequire(file), { exports: {} }, file, dirname(file));
});

import { connect, createServer, type AddressInfo } from 'node:net';
import { startHealthServer, type Check, type HealthServer } from '../../src/host/health';
import { ipAddress } from '../../src/model/address';
import { describeError } from '../../src/model/errors';
import { until } from '../support/lab/until';

let live: readonly Check[] | Error;
let ready: readonly Check[];
let now: number;
let server: HealthServer | undefined;

beforeEach(() => {
  now = 100_000;
  live = [{ name: 'loops', ok: true, since: 40_000 }];
  ready = [
    { name: 'etcd', ok: true, since: 88_000 },
    { name: 'subnet-file', ok: false, since: 95_000, reason: 'no space is left on the device' },
  ];
});

afterEach(async () => {
  await server?.close();
  server = undefined;
});

async function get(path: string, init?: RequestInit) {
  server ??= await start();
  const response = await fetch(`http://127.0.0.1:${server.port}${path}`, init);
  return { status: response.status, text: await response.text() };
}

function start(port = 0, address = '127.0.0.1'): Promise<HealthServer> {
  return startHealthServer({
    address: ipAddress(address),
    port,
    clock: { now: () => now },
    live: () => {
      if (live instanceof Error) throw live;
      return live;
    },
    ready: () => ready,
  });
}

describe('the health server answers', () => {
  test('200 when all is well', async () => {
    expect(await get('/healthz')).toEqual({ status: 200, text: 'vtepd is running\n' });
    ready = ready.map((check) => ({ ...check, ok: true }));
    expect(await get('/readyz')).toEqual({ status: 200, text: 'vtepd is ready\n' });
  });

  test('503 with the reason when something is not, and 200 again when it is', async () => {
    expect(await get('/readyz')).toEqual({
      status: 503,
      text: 'vtepd is not ready: subnet-file: no space is left on the device\n',
    });
    live = [
      { name: 'loops', ok: false, since: 1 },
      { name: 'lease', ok: false, since: 1, reason: 'lost' },
    ];
    expect(await get('/healthz')).toEqual({
      status: 503,
      text: 'vtepd is not running: loops; lease: lost\n',
    });
    live = [];
    expect((await get('/healthz')).status).toBe(200);
  });

  test('with each check and since when, if asked to be verbose', async () => {
    expect((await get('/readyz?verbose')).text).toBe(
      [
        '[+] etcd: well for 12 s',
        '[-] subnet-file: not well for 5 s: no space is left on the device',
        'vtepd is not ready: subnet-file: no space is left on the device',
        '',
      ].join('\n'),
    );
    ready = [{ name: 'lease', ok: false, state: 'unknown', since: 1 }];
    expect(await get('/readyz?verbose')).toEqual({
      status: 503,
      text: '[?] lease: not known yet\nvtepd is not ready: lease\n',
    });
    expect((await get('/healthz?verbose=1')).text).toBe('[+] loops: well for 60 s\nvtepd is running\n');
  });

  test('200 when what is not well is only worth knowing, which is shown', async () => {
    ready = [{ name: 'firewall', ok: false, since: 95_000, reason: 'rules are missing', advisory: true }];
    expect(await get('/readyz')).toEqual({ status: 200, text: 'vtepd is ready\n' });
    expect((await get('/readyz?verbose')).text).toBe(
      '[!] firewall: not well for 5 s: rules are missing\nvtepd is ready\n',
    );
    ready = [...ready, { name: 'lease', ok: false, since: 95_000 }];
    expect(await get('/readyz')).toEqual({ status: 503, text: 'vtepd is not ready: lease\n' });
  });

  test('nothing else: 404, 405, and HEAD without a body', async () => {
    expect((await get('/')).status).toBe(404);
    expect((await get('/metrics')).status).toBe(404);
    expect((await get('/readyz', { method: 'POST' })).status).toBe(405);
    expect(await get('/readyz', { method: 'HEAD' })).toEqual({ status: 503, text: '' });
  });

  test('500 when a check has a defect, and lives on', async () => {
    live = new Error('a defect');
    expect(await get('/healthz')).toEqual({ status: 500, text: 'the checks failed: a defect\n' });
    expect((await get('/readyz')).status).toBe(503);
  });
});

test('a port in use is a sentence, not a crash', async () => {
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  const { port } = other.address() as AddressInfo;
  try {
    const failure: unknown = await start(port).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'EADDRINUSE' });
    expect(describeError(failure)).toBe(
      `cannot listen for health checks on 127.0.0.1:${port}: the address is in use`,
    );
  } finally {
    other.close();
  }
});

test('an address that is not ours is a sentence too', async () => {
  await expect(start(0, '192.0.2.1')).rejects.toMatchObject({
    code: 'EADDRNOTAVAIL',
    message: 'cannot listen for health checks on 192.0.2.1:0',
  });
});

test('closing ends idle and half-open connections, without a word, and nobody is let in any more', async () => {
  const health = await start();
  const open = async (text: string) => {
    const socket = connect(health.port, '127.0.0.1');
    socket.on('error', () => undefined);
    let heard = '';
    socket.setEncoding('utf8').on('data', (part: string) => (heard += part));
    await new Promise((resolve) => socket.once('connect', resolve));
    socket.write(text);
    const ended = new Promise((resolve) => socket.once('close', resolve));
    return { ended, heard: () => heard };
  };
  const idle = await open('GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n');
  await until('the answer', () => idle.heard().includes('vtepd is running\n'));
  const halfOpen = await open('GET /healthz HTTP/1.1\r\n');
  await health.close();
  await Promise.all([idle.ended, halfOpen.ended]);
  // Who waits for the server's patience to run out hears of it.
  expect(halfOpen.heard()).toBe('');
  const refused = new Promise((resolve) => connect(health.port, '127.0.0.1').once('error', resolve));
  expect(await refused).toMatchObject({ code: 'ECONNREFUSED' });
});

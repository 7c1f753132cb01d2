import { parseCommandLine } from '../../src/cli/command-line';
import { printDuration, printStatus, runStatusCommand } from '../../src/cli/status-command';
import { ipAddress } from '../../src/model/address';
import { HostError } from '../../src/model/errors';
import { macAddress } from '../../src/model/mac';
import type { ProcessStatus } from '../../src/model/status';

const STATUS: ProcessStatus = {
  version: '1.2.3',
  processId: 77,
  runningSeconds: 7_500,
  isReady: true,
  overlay: {
    network: '10.5.0.0/16',
    link: 'flannel.1',
    vni: 1,
    mtu: 1450,
    resolve: 'preload',
    underlay: 'eth0',
    underlayAddress: ipAddress('192.0.2.1'),
  },
  lease: {
    name: '10.5.7.0-24',
    subnet: '10.5.7.0/24',
    publicIp: ipAddress('192.0.2.1'),
    vtepMac: macAddress('0e:00:00:00:00:01'),
    remainingSeconds: 86_000,
  },
  peers: { count: 2, graced: [{ lease: '10.5.9.0-24', forSeconds: 61 }] },
  work: { kernelOperations: 10, repairs: 1, firewallRepairs: 0, missesAnswered: 3, missesOfNobody: 0 },
  checks: [
    { name: 'lease', ok: true, sinceSeconds: 7_400, advisory: false },
    { name: 'etcd', ok: false, sinceSeconds: 30, reason: 'nobody answers', advisory: true },
  ],
};

const PAGE = `vtepd 1.2.3, process 77, running for 2 h 5 min: ready
  network   10.5.0.0/16 on flannel.1 (VNI 1, MTU 1450), peers preload
  underlay  eth0, 192.0.2.1
  lease     10.5.7.0/24 at 192.0.2.1, VTEP MAC 0e:00:00:00:00:01
            good for 23 h 53 min, also without etcd
  peers     2
            10.5.9.0-24 is kept, although its lease expired 1 min 1 s ago
  kernel    10 changes, 1 of them repairs
  misses    3 answered, 0 times nobody has the address

  [+] lease: well for 2 h 3 min
  [!] etcd: not well for 30 s: nobody answers
`;

/** Runs it against these agents; what it said, and how it ended. */
async function run(answers: readonly string[] | HostError, asJson = false, withPeers = false) {
  const said = { out: '', error: '', asked: '' };
  const code = await runStatusCommand(
    { kind: 'status', asJson, withPeers },
    {
      ask: (question) => {
        said.asked = question;
        return answers instanceof HostError ? Promise.reject(answers) : Promise.resolve(answers);
      },
      write: (text) => void (said.out += text),
      complain: (text) => void (said.error += text),
    },
  );
  return { code, ...said };
}

test('status tells a person of lease, peers, work and checks', async () => {
  expect(await run([JSON.stringify(STATUS)])).toEqual({ code: 0, out: PAGE, error: '', asked: 'status' });
});

test('status tells of changes of peers apart from repairs', async () => {
  const busy: ProcessStatus = { ...STATUS, work: { ...STATUS.work, peerChanges: 40 } };
  const { out } = await run([JSON.stringify(busy)]);
  expect(out).toContain('  peers     2, after 40 changes\n');
  expect(out).toContain('  kernel    10 changes, 1 of them repairs\n');
});

test.each([
  ['cut off', JSON.stringify(STATUS).slice(0, -9)],
  ['of nobody that we know', '{"hello": "world"}'],
  ['no object', 'null'],
])('an answer that is %s is said to be that, and the other agents are told of', async (_, answer) => {
  const { code, out, error } = await run([answer, JSON.stringify(STATUS)]);
  expect(code).toBe(1);
  expect(out.trimStart()).toBe(PAGE);
  expect(error).toBe('what one agent answered is cut off, or is no answer of vtepd; ask again\n');
});

test('an agent that waits says what it waits for, and the exit code tells', async () => {
  const waiting: ProcessStatus = {
    ...STATUS,
    isReady: false,
    overlay: undefined,
    lease: undefined,
    peers: { count: 0, graced: [] },
    checks: [{ name: 'start', ok: false, sinceSeconds: 2, reason: 'no configuration', advisory: false }],
  };
  const { code, out } = await run([JSON.stringify(waiting)]);
  expect(code).toBe(1);
  expect(out).toContain('NOT READY');
  expect(out).toContain('[-] start: not well for 2 s: no configuration');
  expect(out).not.toContain('[?]');
  expect(out).not.toContain('lease');
});

test('a reservation does not expire, and an expired lease says since when', () => {
  const withLife = (remainingSeconds: number | undefined) =>
    printStatus({ ...STATUS, lease: { ...STATUS.lease!, remainingSeconds } });
  expect(withLife(undefined)).toContain('a reservation: it does not expire');
  expect(withLife(-90)).toContain('expired 1 min 30 s ago');
});

test('--peers asks for the peers, and lists them', async () => {
  const list = [
    {
      subnet: '10.5.9.0/24',
      publicIp: ipAddress('192.0.2.9'),
      vtepMac: macAddress('0e:00:00:00:00:09'),
    },
  ];
  const { asked, out } = await run(
    [JSON.stringify({ ...STATUS, peers: { ...STATUS.peers, list } })],
    false,
    true,
  );
  expect(asked).toBe('peers');
  expect(out).toContain('  subnet       PublicIP   VTEP MAC\n  10.5.9.0/24  192.0.2.9  0e:00:00:00:00:09\n');
});

test('--json is what the agent said, one object a line', async () => {
  const texts = [JSON.stringify(STATUS), JSON.stringify({ ...STATUS, processId: 78 })];
  expect((await run(texts, true)).out).toBe(`${texts[0]}\n${texts[1]}\n`);
});

test('without an agent, or where it does not answer, it says so', async () => {
  expect(await run([])).toMatchObject({ code: 1, error: 'no vtepd runs in this network namespace\n' });
  expect(await run(new HostError('EIO', 'cannot ask the agent'))).toMatchObject({
    code: 1,
    error: 'cannot ask the agent\n',
  });
});

test.each(['EACCES', 'EPERM'])('who may not ask (%s) hears who may, by a code of its own', async (code) => {
  expect(await run(new HostError(code, 'cannot ask the agent'))).toMatchObject({
    code: 4,
    error: expect.stringMatching(
      /^cannot ask the agent; root and the members of the agent's group may: .*'usermod -aG vtepd NAME'.*\n$/,
    ) as string,
  });
});

test('a first host shows how the next one joins, each line as it is to be copied', async () => {
  const invitation = {
    command: 'vtepd --etcd-endpoints=http://192.0.2.1:2379 --iface-can-reach=192.0.2.1',
    configLines: ['etcd-endpoints=http://192.0.2.1:2379', 'iface-can-reach=192.0.2.1'],
  };
  const { out } = await run([JSON.stringify({ ...STATUS, invitation })]);
  expect(out).toContain(`
  next host vtepd --etcd-endpoints=http://192.0.2.1:2379 --iface-can-reach=192.0.2.1
            or, in its /etc/vtepd/vtepd.conf:
            etcd-endpoints=http://192.0.2.1:2379
            iface-can-reach=192.0.2.1

`);
});

test('the command line knows it, with the options of the agent or without', () => {
  expect(parseCommandLine(['status', '--json'], {})).toEqual({
    kind: 'status',
    asJson: true,
    withPeers: false,
  });
  expect(parseCommandLine(['-iface=eth0', 'status', '-peers'], {})).toEqual({
    kind: 'status',
    asJson: false,
    withPeers: true,
  });
});

test.each([
  [0, '0 s'],
  [59, '59 s'],
  [60, '1 min'],
  [3_725, '1 h 2 min'],
  [90_000, '1 d 1 h'],
])('%i seconds are %s', (seconds, text) => expect(printDuration(seconds)).toBe(text));

it.each<[string | undefined, string]>([
  [undefined, '  [?] bridge: not known yet\n'],
  ['nobody looked', '  [?] bridge: not known yet: nobody looked\n'],
])('what is not known yet is neither called well nor not well', (reason, line) => {
  const check = {
    name: 'bridge',
    state: 'unknown' as const,
    ok: false,
    sinceSeconds: 3,
    reason,
    advisory: true,
  };
  expect(printStatus({ ...STATUS, checks: [check] })).toContain(line);
});

it('of a lease that etcd has not any more it is said what etcd has, and not for how long it is good', () => {
  const lease = { ...STATUS.lease!, remainingSeconds: 0, lost: 'our lease is not in etcd since noon' };
  const page = printStatus({ ...STATUS, lease });
  expect(page).toContain('            our lease is not in etcd since noon\n');
  expect(page).not.toMatch(/good for|expired 0/);
});

import {
  isLeaseOfAnother,
  memoryOf,
  readLeasesMissed,
  readPast,
  rememberedLease,
} from '../../src/engine/past';
import type { OwnHostFacts } from '../../src/engine/own-host-state';
import { readNetwork } from '../../src/core/network';
import { printMemoryInSteps } from '../../src/model/memory-codec';
import { parseSavedLease } from '../../src/model/saved-host';
import { complete } from '../../src/model/steps';
import { NETWORK_CONFIG } from '../support/agent-on-fakes';
import { exampleLease, exampleOverlay, examplePeer } from '../support/examples';
import { FakeHost, FakeMachine } from '../support/fake-host';
import { FAKE_UNDERLAY } from '../support/fake-kernel';
import { FakeLog } from '../support/fake-log';
import { macAddress } from '../../src/model/mac';

const PLACE = '/coreos.com/network/config';
const FACTS: OwnHostFacts = {
  network: readNetwork(NETWORK_CONFIG),
  lease: exampleLease(7),
  underlay: exampleOverlay().underlay,
  hostNetwork: {
    interfaces: [{ ...FAKE_UNDERLAY, index: 9, mac: undefined }, FAKE_UNDERLAY],
    defaultRoutes: [],
  },
};
const host = new FakeHost();
const written = (machine: Pick<FakeHost, 'machineId'> = host, facts: Partial<OwnHostFacts> = FACTS) =>
  complete(
    printMemoryInSteps(
      memoryOf(PLACE, machine, facts, exampleLease(7), [exampleLease(2), exampleLease(7)], 9)!,
    ),
  );
const read = async (memory: string | undefined, subnetFile?: string) => {
  const log = new FakeLog();
  const reader = Object.assign(new FakeHost(), { memory, subnetFile });
  return { log, ...(await readPast(reader, log, PLACE)) };
};

describe('what a host remembers of itself', () => {
  it('is written with the lease as we hold it, once, and with where we held it', () => {
    const own = { ...exampleLease(7), modRevision: '99' };
    const memory = memoryOf(PLACE, host, FACTS, own, [exampleLease(7), exampleLease(2)], 7_000);
    expect(memory).toEqual({
      place: PLACE,
      config: NETWORK_CONFIG,
      ownLease: '10.5.7.0-24',
      expiresAt: 7_000,
      leases: [exampleLease(2), own],
      host: {
        machineId: host.machineId(),
        link: 'flannel.1',
        interface: 'eth0',
        hardwareAddress: FAKE_UNDERLAY.mac,
        address: '192.168.0.1',
        publicIp: '192.168.0.7',
        vtepMac: examplePeer(7).vtepMac,
      },
    });
  });

  it.each(['network', 'underlay'] as const)('is not written while the %s is not known', (missing) => {
    expect(memoryOf(PLACE, host, { ...FACTS, [missing]: undefined }, exampleLease(7), [], 0)).toBeUndefined();
  });

  it('is nothing where subnet.env is anything else; a few of its lines are named, by their beginnings', async () => {
    const { previous, log } = await read(undefined, `${'x'.repeat(5_000)}\n`.repeat(1_000));
    expect(previous).toBeUndefined();
    expect(log.lines).toHaveLength(6);
    expect(Math.max(...log.lines.map(({ fields }) => JSON.stringify(fields).length))).toBeLessThan(300);
    expect(log.lines.at(-1)).toMatchObject({ fields: { lines: 995 } });
  });

  it('is what subnet.env and the state file say', async () => {
    const { previous, saved, log } = await read(written(), 'FLANNEL_SUBNET=10.5.9.1/24\n');
    expect(previous).toEqual({ address: '10.5.9.0', prefixLength: 24 });
    expect(saved).toMatchObject({ subnet: { address: '10.5.7.0' }, host: { interface: 'eth0' } });
    expect(log.lines).toEqual([]);
  });

  it('is nothing where there are no files', async () => {
    expect(await read(undefined)).toMatchObject({ previous: undefined, saved: undefined });
  });

  it('is what can be read of damaged files, and of subnet.env it is said', async () => {
    const { previous, saved, log } = await read('{', 'FLANNEL_SUBNET=nonsense\n');
    expect([previous, saved]).toEqual([undefined, undefined]);
    expect(log.lines).toEqual([
      {
        level: 'warn',
        message: 'the subnet file is not quite readable',
        fields: { problem: expect.stringContaining('nonsense') as string },
      },
    ]);
  });

  it('is nothing where the files cannot be read', async () => {
    const log = new FakeLog();
    const broken = new FakeHost();
    broken.fail('read', 'EIO', 2);
    expect(await readPast(broken, log, PLACE)).toEqual({ previous: undefined, saved: undefined });
    expect(log.lines).toEqual([
      {
        level: 'warn',
        message: 'cannot read the subnet file; our previous subnet is unknown',
        fields: { error: 'cannot read the subnet file' },
      },
    ]);
  });
});

describe('the remembered lease', () => {
  const remember = (
    text: string,
    facts: Partial<OwnHostFacts> = FACTS,
    machine: Pick<FakeHost, 'machineId'> = host,
  ) => rememberedLease({ previous: undefined, saved: parseSavedLease(text, PLACE) }, machine, facts);

  it("is this host's on the same machine, over the same interface", () => {
    expect(remember(written())).toEqual({ ...examplePeer(7), isThisHosts: true });
  });

  it('is nothing where nothing was saved', () => {
    expect(
      rememberedLease({ previous: exampleLease(7).subnet, saved: undefined }, host, FACTS),
    ).toBeUndefined();
  });

  const machine = (id: string | undefined) => Object.assign(new FakeMachine(), { id }).host();
  const otherMac = {
    ...FACTS,
    hostNetwork: {
      ...FACTS.hostNetwork,
      interfaces: [{ ...FAKE_UNDERLAY, mac: macAddress('02:ee:00:00:00:99') }],
    },
  };
  const noMac = {
    ...FACTS,
    hostNetwork: { ...FACTS.hostNetwork, interfaces: [{ ...FAKE_UNDERLAY, mac: undefined }] },
  };

  it.each<[string, string, Partial<OwnHostFacts>, Pick<FakeHost, 'machineId'>]>([
    ['on another machine', written(), FACTS, machine('f'.repeat(32))],
    ['on a machine without an ID', written(), FACTS, machine(undefined)],
    ['where the file names no machine, either', written(machine(undefined)), FACTS, machine(undefined)],
    ['over another interface', written(), otherMac, host],
    ['over an interface without a hardware address', written(), noMac, host],
    ['by a file of v0.1.0', written().replace(/,"host":\{[^}]*\}/, ''), FACTS, host],
  ])("is not this host's %s", (_, text, facts, where) => {
    expect(remember(text, facts, where)).toMatchObject({ ...examplePeer(7), isThisHosts: false });
  });

  it("is this host's over an interface that never had a hardware address", () => {
    expect(remember(written(host, noMac), noMac)).toMatchObject({ isThisHosts: true });
  });
});

describe('the leases of other hosts that a state file has and etcd does not', () => {
  const clock = { wallTime: () => 1_000 };
  const file = (place = PLACE, expiresAt = 9_000) =>
    complete(
      printMemoryInSteps(
        memoryOf(place, host, FACTS, exampleLease(7), [exampleLease(2), exampleLease(3)], expiresAt)!,
      ),
    );
  const missed = async (memory: string | undefined) => {
    const leases = await readLeasesMissed(
      Object.assign(new FakeHost(), { memory }),
      clock,
      PLACE,
      (name) => name === exampleLease(3).name,
    );
    return leases.map(({ name }) => name);
  };

  it('are those that are not known, without our own', async () => {
    expect(await missed(file())).toEqual([exampleLease(2).name]);
  });

  it('are none in a file of another network, of a lease that has run out, in a damaged one, and in none', async () => {
    expect(await missed(file('/other/config'))).toEqual([]);
    expect(await missed(file(PLACE, 1_000))).toEqual([]);
    expect(await missed('{')).toEqual([]);
    expect(await missed(undefined)).toEqual([]);
  });

  it('are none when the file cannot be read', async () => {
    const broken = { readMemory: () => Promise.reject(new Error('no such disk')) };
    expect(await readLeasesMissed(broken, clock, PLACE, () => false)).toEqual([]);
  });
});

describe('a lease with our PublicIP', () => {
  const [own, other] = [exampleLease(7).subnet, exampleLease(9).subnet];
  const saved = parseSavedLease(written(), PLACE)!;
  const registry = { isGrantedToUs: (id: string) => id === 'ours' };
  const MAC = examplePeer(7).vtepMac;

  it.each<
    [string, ReturnType<typeof exampleLease>, Parameters<typeof isLeaseOfAnother>[1], string[], boolean]
  >([
    ['nothing is remembered', exampleLease(9), { previous: undefined, saved: undefined }, [], false],
    ['subnet.env names another subnet', exampleLease(9), { previous: own, saved: undefined }, [], true],
    ['subnet.env names its subnet', exampleLease(9), { previous: other, saved: undefined }, [], false],
    ['the state file names another', exampleLease(9), { previous: undefined, saved }, [], true],
    [
      'the state file names its MAC',
      exampleLease(9, { attributes: exampleLease(7).attributes }),
      { previous: undefined, saved },
      [],
      false,
    ],
    [
      'a device of this host has its MAC',
      exampleLease(9, { attributes: exampleLease(7).attributes }),
      { previous: own, saved: undefined },
      [MAC],
      false,
    ],
    [
      'it hangs on an etcd lease of ours',
      exampleLease(9, { etcdLeaseId: 'ours' }),
      { previous: own, saved },
      [],
      false,
    ],
  ])('where %s: is it another host’s?', (_, lease, past, deviceMacs, isAnothers) => {
    expect(isLeaseOfAnother(lease, past, deviceMacs.map(macAddress), registry)).toBe(isAnothers);
  });
});

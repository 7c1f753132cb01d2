/** Hosts that run flannel and hosts that run vtepd share one etcd and one overlay. */
import { join } from 'node:path';
import { Flannel } from '../support/flannel/flannel';
import type { Host } from '../support/lab/host';
import { Lab, PREFIX } from '../support/lab/lab';
import { netlinkReads, netlinkWrites, traced } from '../support/lab/netlink-writes';
import { pingAllPairs, unanswered } from '../support/lab/ping';
import { bothWays, withoutLoss } from '../support/lab/stream';
import { until } from '../support/lab/until';

describe.each(['preload', 'on-demand'])('with --resolve=%s', (mode) => {
  let lab: Lab;
  let ours: Host;
  let other: Host;
  let modern: Flannel;
  let old: Flannel;
  /** Leases that were put only to see them judged. */
  const judged = new Set<string>();

  beforeAll(async () => {
    lab = await Lab.start({ hosts: 4, agentOptions: [`--resolve=${mode}`] });
    [ours, other] = [lab.host(1), lab.host(2)];
    // One of flannel's is there before us, one comes after.
    modern = await Flannel.start(lab.host(3), lab.etcd, { version: '0.22' });
    await lab.startAgents([ours, other]);
    old = await Flannel.start(lab.host(4), lab.etcd, { version: '0.5.5' });
    await Promise.all([modern, old].map(({ host }) => host.attachContainer()));
    await modern.settled();
  });

  afterAll(async () => {
    await Promise.all([modern?.stop(), old?.stop()]);
    lab?.end();
  });

  /** Returns when a host's agent has done what it does about all that is in etcd now: when a later lease is judged, the rest was. */
  async function hearsOfAll({ agent }: Host): Promise<void> {
    // Of the same lease an agent complains once a minute, so each time it is another one.
    const leases = await lab.leases();
    const numbers = Array.from({ length: 100 }, (_, n) => 254 - n);
    const lease = numbers
      .map((n) => `10.5.${n}.0-24`)
      .find((name) => !leases.has(name) && !judged.has(name))!;
    judged.add(lease);
    await lab.etcd.put(`${PREFIX}/subnets/${lease}`, '{"PublicIP":"172.30.254.1"}');
    await agent.logged((line) => line['lease'] === lease);
    await lab.etcd.etcdctl('del', `${PREFIX}/subnets/${lease}`);
  }

  /** Flannel 0.5.5 and a flannel whose MAC changed do not reach each other for a while, whatever we do. */
  async function unansweredOfOurs(): Promise<string[]> {
    const trips = [
      ...(await pingAllPairs([ours, other, modern.host])),
      ...(await pingAllPairs([ours, other, old.host])),
    ];
    return unanswered(trips);
  }

  test('every container reaches every other', async () => {
    await peersOf(ours, [other.subnet, ...[modern, old].map(subnetOf)], mode);
    expect(unanswered(await pingAllPairs(lab.hosts))).toEqual([]);
    expect(unanswered(await pingAllPairs(lab.hosts))).toEqual([]);
    expect(old.answers).toBeGreaterThan(0);
  });

  test('what we say of ourselves is flannel’s own spelling, and nothing else is below its prefix', async () => {
    const leases = await lab.leases();
    for (const host of [ours, other]) {
      expect(leases.get(host.subnet.replace('/', '-'))).toBe(
        `{"PublicIP":"${host.publicIp}","PublicIPv6":null,"BackendType":"vxlan",` +
          `"BackendData":{"VNI":1,"VtepMAC":"${await host.vtepMac()}"}}`,
      );
    }
    // Everything that begins like flannel's prefix, slash or not.
    expect((await lab.etcd.list(`${PREFIX}/subnets`)).size).toBe(4);
  });

  test('an agent that is killed and started again is no news to flannel, and loses no packet', async () => {
    const before = modern.deeds.length;
    await withoutLoss([...bothWays(ours, modern.host), [old.host, other]], async (traffic) => {
      await ours.agent.end('SIGKILL');
      await traffic.sends();
      ours.agent.start();
      await ours.agent.ready();
    });
    await modern.settled();
    expect(modern.deeds.slice(before)).toEqual([]);
  });

  test('a flannel that renews its lease causes not one write to our kernel, and loses no packet', async () => {
    const trace = join(lab.directory, `renewal-${mode}.strace`);
    await ours.agent.end('SIGKILL');
    ours.agent.start({ under: traced(trace) });
    await ours.agent.ready();
    await until('the agent has read all', () => netlinkReads(trace).length > 0);
    const before = netlinkWrites(trace).length;
    await withoutLoss(bothWays(ours, modern.host), async () => {
      const first = await modern.renew();
      await modern.renew();
      // Another lease than the key has now: its end means nothing.
      await lab.etcd.etcdctl('lease', 'revoke', first);
      await hearsOfAll(ours);
    });
    expect(netlinkWrites(trace).slice(before)).toEqual([]);
    expect(ours.agent.log().filter(({ message }) => /^peer (left|changed)|expired/.test(message))).toEqual(
      [],
    );
  });

  test('a flannel 0.5.5 that probes addresses which nobody answers for loses no packet, nor do we', async () => {
    // Within seconds, what else takes minutes: REACHABLE, STALE, DELAY, PROBE, FAILED, and the next miss.
    const soon = { base_reachable_time_ms: 2000, delay_first_probe_time: 1 };
    // Its answers are as slow as the machine is busy, and its kernel keeps no more than 256 packets for one that is late.
    await old.host.namespace.configure({ 'ipv4/neigh/flannel.1/unres_qlen_bytes': 8 << 20 });
    const settings = Object.entries(soon).map(([name, value]) => [`ipv4/neigh/flannel.1/${name}`, value]);
    for (const host of [old.host, ours]) {
      await host.namespace.configure(Object.fromEntries(settings) as Record<string, number>);
    }
    const answers = old.answers;
    await withoutLoss(bothWays(old.host, ours), async () => {
      // A round takes from ten to thirty seconds: the kernel draws parts of it at random.
      await until('it was asked again and again', () => old.answers >= answers + 3, {
        withinMilliseconds: 180_000,
      });
    });
    expect((await ours.neighbors()).filter(({ dst }) => dst === old.host.containerAddress)).toEqual([]);
  });

  test('a flannel host that made its device anew is followed to its new MAC', async () => {
    const { mac, host, subnet } = modern;
    await modern.stop();
    await host.namespace.ip('link', 'del', 'flannel.1');
    modern = await Flannel.start(host, lab.etcd, { version: '0.22' });
    expect(modern).toMatchObject({ subnet, misfit: undefined });
    expect(modern.mac).not.toBe(mac);
    for (const { agent } of [ours, other])
      await agent.logged(({ message, vtepMac }) => message === 'peer changed' && vtepMac === modern.mac);
    expect(await unansweredOfOurs()).toEqual([]);
    const entries = (await ours.fdb()).filter(({ dst }) => dst === host.publicIp);
    expect(entries.map((entry) => entry.mac)).toEqual([modern.mac]);
  });

  test('a flannel host whose lease is revoked stays reachable, and comes back to its subnet', async () => {
    const { host, subnet } = modern;
    const key = `${PREFIX}/subnets/${subnet}`;
    const [stored] = await lab.etcd.inspect(key);
    await lab.etcd.etcdctl('lease', 'revoke', BigInt(stored!.lease!).toString(16));
    await until('flannel has ended', () => !modern.isRunning);
    await ours.agent.logged(({ message, lease }) => /^lease expired/.test(message) && lease === subnet);
    expect(unanswered(await pingAllPairs([ours, host]))).toEqual([]);
    await modern.stop();
    modern = await Flannel.start(host, lab.etcd, { version: '0.22' });
    expect(modern.subnet).toBe(subnet);
    expect(await unansweredOfOurs()).toEqual([]);
  });

  test('a flannel host whose key is deleted is forgotten, and known again when it has one', async () => {
    const { host, subnet } = modern;
    await lab.etcd.etcdctl('del', `${PREFIX}/subnets/${subnet}`);
    await ours.agent.logged(
      ({ message, subnet: left }) => message === 'peer left' && left === subnetOf(modern),
    );
    await until(
      'its entry is gone',
      async () => !(await ours.fdb()).some(({ dst }) => dst === host.publicIp),
    );
    await modern.stop();
    modern = await Flannel.start(host, lab.etcd, { version: '0.22' });
    await peersOf(ours, [subnetOf(modern)], mode);
    expect(await unansweredOfOurs()).toEqual([]);
  });

  test('a flannel that put its own value over our key gets ours back, and drops us at no moment', async () => {
    const before = modern.deeds.length;
    const key = `${PREFIX}/subnets/${ours.subnet.replace('/', '-')}`;
    const value = (await lab.leases()).get(ours.subnet.replace('/', '-'))!;
    await lab.etcd.put(key, value.replace(/"VtepMAC":"[^"]*"/, '"VtepMAC":"02:00:00:00:00:99"'));
    await until(
      'our value is back',
      async () => (await lab.leases()).get(ours.subnet.replace('/', '-')) === value,
    );
    await until('flannel has heard of both', () => modern.deeds.length >= before + 2);
    expect(modern.deeds.slice(before).map(({ what }) => what)).toEqual(['added', 'added']);
    await hearsOfAll(other);
    expect(await unansweredOfOurs()).toEqual([]);
  });

  test('packets that flannel with DirectRouting sends around the tunnel arrive, unless rp_filter is strict', async () => {
    await ours.namespace.run('iptables', ['-P', 'FORWARD', 'DROP']);
    await until('our rules are there', async () =>
      (await ours.namespace.run('iptables-save', [])).includes('-d 10.5.0.0/16'),
    );
    await modern.host.namespace.ip('route', 'replace', ours.subnet, 'via', ours.publicIp, 'dev', 'eth0');
    for (const [strictness, lost] of [
      [0, []],
      [1, ['host 1 → host 3', 'host 3 → host 1']],
      [2, []],
    ] as const) {
      await ours.namespace.configure({ 'ipv4/conf/eth0/rp_filter': strictness });
      expect(unanswered(await pingAllPairs([ours, modern.host]))).toEqual(lost);
    }
  });

  test('an address of ours that changes is one write, and no flannel forgets us over it', async () => {
    const before = modern.deeds.length;
    const { subnet } = other;
    await other.namespace.batch([
      `address del ${other.publicIp}/16 dev eth0`,
      'address add 172.30.77.2/16 dev eth0',
    ]);
    await until('the lease names the new address', async () =>
      (await lab.leases()).get(subnet.replace('/', '-'))!.includes('"PublicIP":"172.30.77.2"'),
    );
    await until('flannel has heard of it', () => modern.deeds.length > before);
    await modern.settled();
    expect(modern.deeds.slice(before)).toEqual([{ what: 'added', subnet: subnet.replace('/', '-') }]);
    await ours.agent.logged(
      ({ message, publicIp }) => message === 'peer changed' && publicIp === '172.30.77.2',
    );
    // A flannel 0.5.5 does not follow such a change of anybody's, and has to be started again.
    expect(unanswered(await pingAllPairs([ours, other, modern.host]))).toEqual([]);
    expect(modern.amnesia).toEqual([]);
  });

  test('a flannel that takes our subnet for another host leaves us another one', async () => {
    const { subnet } = ours;
    const value = {
      PublicIP: '172.30.88.8',
      BackendType: 'vxlan',
      BackendData: { VtepMAC: '02:00:00:00:00:88' },
    };
    await lab.etcd.put(`${PREFIX}/subnets/${subnet.replace('/', '-')}`, JSON.stringify(value));
    await ours.agent.logged(({ message }) => message === 'our subnet was taken by another host');
    await until('we have another subnet', () => ours.subnet !== subnet);
    await ours.attachContainer();
    for (const flannel of [modern, old]) await until('flannel knows it', () => flannel.knows(ours.subnet));
    for (const { host } of [modern, old]) expect(unanswered(await pingAllPairs([ours, host]))).toEqual([]);
  });
});

function subnetOf(flannel: Flannel): string {
  return flannel.subnet.replace('-', '/');
}

/** Waits until all of them are in the kernel, which is where they are on demand only when asked for. */
async function peersOf(host: Host, subnets: readonly string[], mode: string): Promise<void> {
  if (mode === 'on-demand') return;
  await until('all peers are in the kernel', async () => {
    const routes = (await host.routes()).flatMap(({ dst, gateway }) => (gateway ? [dst] : []));
    return subnets.every((subnet) => routes.includes(subnet));
  });
}

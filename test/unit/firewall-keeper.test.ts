import type { FirewallWish } from '../../src/core/firewall';
import { FirewallKeeper, removeFirewallRules } from '../../src/engine/firewall-keeper';
import { subnet } from '../../src/model/address';
import { HostError } from '../../src/model/errors';
import { FLANNELD, type InstalledBlock } from '../../src/model/firewall';
import { FakeClock } from '../support/fake-clock';
import { FakeFirewall } from '../support/fake-firewall';
import { FakeLog } from '../support/fake-log';

const RESYNC_MILLISECONDS = 5_000;
const PUT = 'put masquerade rules (ipv4, nftables) of flannel.1';

function wishOf(options: Partial<FirewallWish['options']> = {}, own = '10.5.1.0/24'): FirewallWish {
  return {
    link: 'flannel.1',
    overlays: [{ network: subnet('10.5.0.0/16'), subnet: subnet(own) }],
    options: { ipMasq: true, fullyRandom: true, forward: true, enableNfTables: true, ...options },
  };
}

/** Rules of real flannel, in the other tool. */
const LEFT: InstalledBlock = {
  place: { tool: 'iptables-nft', family: 'ipv6', role: 'masquerade' },
  owner: FLANNELD,
  rules: [],
  inEffect: true,
};

function setUp(firewall = new FakeFirewall()) {
  const clock = new FakeClock();
  const log = new FakeLog();
  const current: { wish: FirewallWish | undefined } = { wish: wishOf() };
  const keeper = new FirewallKeeper(firewall, clock, log, RESYNC_MILLISECONDS, () => current.wish);
  const stop = new AbortController();
  const end = keeper.run(stop.signal);
  return { firewall, clock, log, current, keeper, stop: () => (stop.abort(), end) };
}

describe('the firewall keeper', () => {
  it('puts what is missing, says so once, and then only looks', async () => {
    const { firewall, clock, log, keeper, stop } = setUp();
    await clock.advance(60_000);
    expect(firewall.operations).toEqual([PUT]);
    expect(log.lines.map(({ message }) => message)).toEqual(['firewall rules put in order']);
    expect(log.lines[0]!.fields).toMatchObject({ tool: 'nftables', changes: PUT, because: 'start' });
    expect(keeper.isInPlace).toBe(true);
    expect(setUp().keeper.isInPlace).toBe(false);
    // The start, our own change, and every resync.
    expect(firewall.observations).toBeGreaterThanOrEqual(12);
    expect(firewall.observations).toBeLessThanOrEqual(15);
    await stop();
    expect(firewall.printed()).toHaveLength(1);
    expect(log.lines).toHaveLength(1);
  });

  it('says all for which it looked, or eight of it, and all that it wrote', async () => {
    const { firewall, clock, keeper, log, stop } = setUp();
    firewall.putGate({ place: { tool: 'iptables-nft', family: 'ipv4', role: 'forward' }, drops: true });
    for (let n = 0; n < 20; n++) keeper.trigger(`reason ${n}`);
    await clock.advance(0);
    expect(log.lines[0]!.fields).toMatchObject({
      because: 'start, rules changed, reason 0, reason 1, reason 2, reason 3, reason 4, reason 5',
      changes: `put forward rules (ipv4, iptables-nft) of flannel.1; ${PUT}`,
    });
    await stop();
  });

  it('reads again after a growing wait while it cannot, but no later than usual', async () => {
    const firewall = new FakeFirewall();
    firewall.failObserve(new HostError('FAILED', 'nft failed (1): cache'));
    const { clock, log, stop } = setUp(firewall);
    clock.random = () => 1;
    const start = clock.now();
    const reads: number[] = [];
    const observe = firewall.observe.bind(firewall);
    firewall.observe = (...args) => (reads.push(clock.now() - start), observe(...args));
    await clock.advance(24_000);
    expect(reads).toEqual([0, 500, 1_500, 3_500, 7_500, 12_500, 17_500, 22_500]);
    firewall.failObserve();
    await clock.advance(5_000);
    expect(log.lines.at(-1)).toMatchObject({
      message: 'firewall rules put in order',
      fields: { because: 'retry' },
    });
    await stop();
  });

  it('writes again after a growing wait what was refused', async () => {
    const firewall = new FakeFirewall();
    firewall.refuse(/masquerade/);
    const { clock, log, stop } = setUp(firewall);
    clock.random = () => 1;
    const start = clock.now();
    const writes: number[] = [];
    const apply = firewall.apply.bind(firewall);
    firewall.apply = (...args) => (writes.push(clock.now() - start), apply(...args));
    await clock.advance(14_000);
    expect(writes).toEqual([0, 500, 1_500, 3_500, 7_500, 12_500]);
    expect(log.lines[0]).toMatchObject({
      message: 'a firewall rule could not be written; trying again',
      fields: { place: 'masquerade rules (ipv4, nftables)', failed: 1, error: 'refused' },
    });
    await stop();
  });

  it('writes nothing when a new life finds all in place', async () => {
    const first = setUp();
    await first.clock.advance(1_000);
    await first.stop();
    const { firewall, clock, stop } = setUp(first.firewall);
    await clock.advance(20_000);
    expect(firewall.operations).toEqual([PUT]);
    await stop();
  });

  it('does nothing while we have no subnet', async () => {
    const { firewall, clock, current, keeper, log, stop } = setUp();
    current.wish = undefined;
    await clock.advance(20_000);
    expect([firewall.operations, log.lines]).toEqual([[], []]);
    expect(keeper.trouble).toBeUndefined();
    current.wish = wishOf();
    keeper.trigger('our lease');
    await clock.advance(0);
    expect(firewall.operations).toEqual([PUT]);
    await stop();
  });

  it('repairs at once what it is told of, and with the next resync what nobody tells', async () => {
    const { firewall, clock, current, keeper, log, stop } = setUp();
    await clock.advance(1_000);
    firewall.flush('nftables');
    await clock.advance(0);
    expect(firewall.operations).toEqual([PUT, PUT]);
    current.wish = wishOf({ enableNfTables: false });
    firewall.tools.delete('iptables-nft');
    keeper.trigger('configuration');
    await clock.advance(1_000);
    firewall.flush('iptables-legacy');
    const before = firewall.operations.length;
    await clock.advance(1_000);
    expect(firewall.operations).toHaveLength(before);
    await clock.advance(RESYNC_MILLISECONDS);
    expect(firewall.operations).toHaveLength(before + 2);
    expect(keeper.repairs).toBe(2);
    expect(log.messages('info')).toEqual([
      'firewall rules put in order',
      'firewall rules put in order after another program changed some',
      'firewall rules put in order',
      'firewall rules put in order after another program changed some',
    ]);
    await stop();
  });

  it('looks once at a hundred changes', async () => {
    const { firewall, clock, stop } = setUp();
    await clock.advance(1_000);
    const before = firewall.observations;
    for (let i = 0; i < 100; i++) firewall.flush('iptables-nft');
    await clock.advance(1_000);
    expect(firewall.observations).toBe(before + 1);
    await stop();
  });

  it('fights with nobody: whoever undoes each repair is answered ever more slowly, and told of once', async () => {
    const { firewall, clock, log, stop } = setUp();
    await clock.advance(1_000);
    for (let i = 0; i < 3_000; i++) {
      firewall.flush('nftables');
      await clock.advance(200);
    }
    // Ten minutes.
    expect(firewall.operations.length).toBeLessThan(30);
    expect(log.messages('warn')).toEqual([
      'another program undoes our firewall rules again and again; repairing more slowly',
    ]);
    expect(log.lines.length).toBeLessThan(20);
    await clock.advance(120_000);
    expect(firewall.printed()).toHaveLength(1);
    // The fight is over: what comes now has nothing to do with it.
    firewall.flush('nftables');
    await clock.advance(0);
    expect(firewall.printed()).toHaveLength(1);
    await stop();
  });

  it('does not call it a repair when our subnet changes', async () => {
    const { clock, current, keeper, log, stop } = setUp();
    await clock.advance(1_000);
    current.wish = wishOf({}, '10.5.9.0/24');
    keeper.trigger('our lease');
    await clock.advance(1_000);
    expect(keeper.repairs).toBe(0);
    expect(log.lines.at(-1)).toMatchObject({
      message: 'firewall rules put in order',
      fields: { because: 'our lease' },
    });
    await stop();
  });

  it('lets the overlay through a Docker that comes later', async () => {
    const { firewall, clock, stop } = setUp();
    await clock.advance(1_000);
    firewall.putGate({ place: { tool: 'iptables-nft', family: 'ipv4', role: 'forward' }, drops: true });
    await clock.advance(0);
    expect(firewall.printed()).toContain('flannel.1 forward rules (ipv4, iptables-nft): 2 rules');
    await stop();
  });

  it("removes real flannel's rules of both families, but not before ours are there", async () => {
    const firewall = new FakeFirewall();
    firewall.plant(LEFT);
    firewall.refuse(/masquerade rules \(ipv4/);
    const { clock, keeper, log, stop } = setUp(firewall);
    await clock.advance(10_000);
    expect(firewall.printed()).toHaveLength(1);
    expect(keeper.isInPlace).toBe(false);
    expect(log.messages('warn')).toEqual(['a firewall rule could not be written; trying again']);
    firewall.refuse();
    await clock.advance(60_000);
    expect(firewall.printed()).toEqual(['flannel.1 masquerade rules (ipv4, nftables): 6 rules']);
    expect(log.messages('info')).toContain('firewall rules are as they should be again');
    await stop();
  });

  it('a chain that its owner keeps to himself stops nothing else, and is said once', async () => {
    const { firewall, clock, keeper, log, stop } = setUp();
    firewall.refuse(/inet firewalld/, new HostError('EPERM', 'nobody else may write'));
    const place = {
      tool: 'nftables',
      family: 'ipv4',
      role: 'forward',
      chain: 'inet firewalld filter_FORWARD',
    } as const;
    firewall.putGate({ place, drops: true });
    await clock.advance(50_000);
    expect(firewall.printed()).toEqual(['flannel.1 masquerade rules (ipv4, nftables): 6 rules']);
    expect(log.messages('warn')).toEqual(['another firewall may drop what we forward']);
    expect(log.messages('info')).toEqual(['firewall rules put in order']);
    expect(keeper).toMatchObject({ isInPlace: true, repairs: 0, trouble: undefined });
    expect(keeper.obstacle?.complaint).toMatch('nobody else may write');
    expect(log.lines.find(({ level }) => level === 'warn')!.fields).toMatchObject({
      place: 'forward rules (ipv4, nftables, in inet firewalld filter_FORWARD)',
    });
    firewall.putGate({ place, drops: false });
    await clock.advance(1_000);
    expect(keeper.obstacle).toBeUndefined();
    expect(log.messages('info').at(-1)).toBe('forwarded packets are let through again');
    await stop();
  });

  it.each([
    [
      'a chain of its owner refuses for another reason',
      'inet firewalld filter_FORWARD',
      new HostError('FAILED', 'no'),
    ],
    [
      'a chain of its owner fails in a way that is none of the host',
      'inet firewalld filter_FORWARD',
      Object.assign(new Error('no'), { code: 'EPERM' }),
    ],
    ['a chain of ours may not be written to', undefined, new HostError('EPERM', 'no')],
  ])('takes it for a failure, not for an obstacle, that %s', async (_, chain, error) => {
    const { firewall, clock, keeper, stop } = setUp();
    firewall.refuse(/forward/, error);
    const place = {
      tool: chain ? 'nftables' : 'iptables-nft',
      family: 'ipv4',
      role: 'forward',
      ...(chain && { chain }),
    } as const;
    firewall.putGate({ place, drops: true });
    await clock.advance(1_000);
    expect(keeper.obstacle).toBeUndefined();
    expect(keeper.trouble?.complaint).toContain('a firewall rule could not be written; trying again: ');
    expect(keeper.isInPlace).toBe(false);
    await stop();
  });

  it('says which tool it uses in place of the one asked for, and when it uses that', async () => {
    const firewall = new FakeFirewall();
    const nftables = firewall.tools.get('nftables')!;
    firewall.tools.delete('nftables');
    const { clock, log, stop } = setUp(firewall);
    await clock.advance(0);
    expect(log.messages('warn')).toEqual(['using another firewall tool than the one asked for']);
    firewall.tools.set('nftables', nftables);
    await clock.advance(10_000);
    expect(log.messages('info')).toContain('using the firewall tool that was asked for');
    await stop();
  });

  it.each([
    ['no tool can', false, false, true, 1],
    ['one tool can', false, true, true, 0],
    ['nobody wants them', false, false, false, 0],
  ])(
    'says once at the start that ports cannot be random where %s',
    async (_, one, other, fullyRandom, times) => {
      const firewall = new FakeFirewall();
      firewall.tools.set('iptables-nft', { ...firewall.tools.get('iptables-nft')!, hasFullyRandom: one });
      firewall.tools.set('iptables-legacy', {
        ...firewall.tools.get('iptables-legacy')!,
        hasFullyRandom: other,
      });
      firewall.tools.delete('nftables');
      const { clock, current, log, stop } = setUp(firewall);
      current.wish = wishOf({ fullyRandom, enableNfTables: false });
      await clock.advance(20_000);
      const said = 'this iptables cannot masquerade with random ports; update it to 1.6.2 or later';
      expect(log.messages('warn').filter((message) => message === said)).toHaveLength(times);
      for (const [tool, state] of firewall.tools)
        firewall.tools.set(tool, { ...state, hasFullyRandom: false });
      await clock.advance(20_000);
      expect(log.messages('warn').filter((message) => message === said)).toHaveLength(times);
      await stop();
    },
  );

  it('one place that fails for ever stops no other, and is said once', async () => {
    const { firewall, clock, keeper, log, stop } = setUp();
    firewall.plant(LEFT);
    firewall.refuse(/forward/);
    firewall.putGate({ place: { tool: 'iptables-nft', family: 'ipv4', role: 'forward' }, drops: true });
    await clock.advance(50_000);
    expect(firewall.printed()).toEqual(['flannel.1 masquerade rules (ipv4, nftables): 6 rules']);
    expect(log.messages('warn')).toEqual(['a firewall rule could not be written; trying again']);
    expect(keeper.isInPlace).toBe(false);
    await stop();
  });

  it('a read that fails changes nothing, and is tried again', async () => {
    const { firewall, clock, keeper, stop } = setUp();
    await clock.advance(1_000);
    firewall.failObserve(new HostError('FAILED', 'nft failed (1): cache'));
    await clock.advance(RESYNC_MILLISECONDS);
    expect(keeper.trouble?.complaint).toMatch(/nft failed/);
    expect(keeper.isInPlace).toBe(false);
    firewall.failObserve();
    await clock.advance(RESYNC_MILLISECONDS);
    expect(keeper.trouble).toBeUndefined();
    expect(firewall.operations).toEqual([PUT]);
    await stop();
  });

  it('without any tool says what is missing, and goes on looking', async () => {
    const firewall = new FakeFirewall();
    const tools = [...firewall.tools];
    firewall.tools.clear();
    firewall.problems = ['nft (package nftables) is not installed', 'iptables is not installed'];
    const { clock, log, stop } = setUp(firewall);
    await clock.advance(50_000);
    expect(log.messages('warn')).toEqual(['cannot read or write the firewall rules; trying again']);
    expect(log.lines[0]!.fields.error).toMatch(/nft \(package nftables\) is not installed; iptables is not/);
    for (const [tool, state] of tools) firewall.tools.set(tool, state);
    await clock.advance(60_000);
    expect(firewall.printed()).toHaveLength(1);
    await stop();
  });

  it('without masquerading needs no tool', async () => {
    const firewall = new FakeFirewall();
    firewall.tools.clear();
    const { clock, current, keeper, log, stop } = setUp(firewall);
    current.wish = wishOf({ ipMasq: false, enableNfTables: undefined });
    await clock.advance(10_000);
    expect(log.messages('warn', 'error')).toEqual([]);
    expect(keeper.isInPlace).toBe(true);
    await stop();
  });

  it('when nobody tells of changes, looks now and then, and says so', async () => {
    const firewall = new FakeFirewall();
    firewall.isDeaf = true;
    const { clock, log, stop } = setUp(firewall);
    await clock.advance(1_000);
    firewall.flush('nftables');
    await clock.advance(RESYNC_MILLISECONDS);
    expect(firewall.operations).toEqual([PUT, PUT]);
    expect(log.lines.filter(({ level }) => level === 'warn')).toEqual([
      {
        level: 'warn',
        message: 'nobody tells when firewall rules change; looking now and then',
        fields: { error: 'cannot listen', everySeconds: 5 },
      },
    ]);
    await stop();
  });

  it('is no busy loop, whatever it is told of the resync, and whether there is something to do or not', async () => {
    for (const wish of [wishOf(), undefined]) {
      const clock = new FakeClock();
      const stop = new AbortController();
      let looks = 0;
      const look = () => {
        // A busy loop must not last as long as the test may.
        if (++looks > 1_000) stop.abort();
        return wish;
      };
      const end = new FirewallKeeper(new FakeFirewall(), clock, new FakeLog(), 0, look).run(stop.signal);
      await clock.advance(10_000);
      expect(looks).toBeGreaterThan(10);
      expect(looks).toBeLessThanOrEqual(60);
      stop.abort();
      await end;
    }
  });
});

describe('a clean-up', () => {
  it('removes what is ours, says it, and tells what it could not remove', async () => {
    const { firewall, clock, stop } = setUp();
    firewall.putGate({ place: { tool: 'iptables-nft', family: 'ipv4', role: 'forward' }, drops: false });
    await clock.advance(1_000);
    await stop();
    firewall.plant(LEFT);
    firewall.refuse(/forward/);
    const said: string[] = [];
    const signal = new AbortController().signal;
    expect(await removeFirewallRules(firewall, (line) => said.push(line), signal)).toHaveLength(1);
    expect(said).toEqual([
      'removed masquerade rules (ipv4, nftables)',
      'could not remove forward rules (ipv4, iptables-nft) of flannel.1: refused',
    ]);
  });
});

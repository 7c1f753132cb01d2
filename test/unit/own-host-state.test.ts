import { readNetwork } from '../../src/core/network';
import { OwnHostState, type OwnHostChange, type OwnHostFacts } from '../../src/engine/own-host-state';
import { ipAddress } from '../../src/model/address';
import { NETWORK_CONFIG } from '../support/agent-on-fakes';
import { exampleLease, exampleOverlay } from '../support/examples';
import { FAKE_UNDERLAY } from '../support/fake-kernel';
import { FakeLog } from '../support/fake-log';

const FACTS: OwnHostFacts = {
  network: readNetwork(NETWORK_CONFIG),
  lease: exampleLease(1),
  underlay: exampleOverlay().underlay,
  hostNetwork: { interfaces: [FAKE_UNDERLAY], defaultRoutes: [] },
};
const gateway = (text: string) => ({
  interfaces: [FAKE_UNDERLAY],
  defaultRoutes: [{ interfaceIndex: 2, source: undefined, gateway: ipAddress(text) }],
});

function state() {
  const log = new FakeLog();
  const own = new OwnHostState(log, {
    resolve: { kind: 'preload' },
    hasBlackholeRoute: false,
    ipMasq: false,
    etcdAddresses: [],
  });
  const changes: OwnHostChange[] = [];
  own.listen((change) => changes.push(change));
  return { own, log, changes };
}

describe('the state of this host', () => {
  it.each(Object.keys(FACTS) as (keyof OwnHostFacts)[])(
    'is not there while its %s is not known',
    (missing) => {
      const { own, changes } = state();
      own.set({ ...FACTS, [missing]: undefined });
      expect(own.current).toBeUndefined();
      expect(changes).toEqual([]);
      own.set({ [missing]: FACTS[missing] });
      expect(own.current).toBeDefined();
      expect(changes).toHaveLength(1);
    },
  );

  it('differs in all parts the first time', () => {
    const { own, changes } = state();
    own.set(FACTS);
    expect(changes).toEqual([
      {
        now: own.current,
        before: undefined,
        differs: new Set(['overlay', 'self', 'range', 'subnetEnv', 'advice', 'unrouted']),
      },
    ]);
  });

  it('tells its listeners in their order what differs, and nothing while nothing does', () => {
    const { own, changes } = state();
    own.set(FACTS);
    const order: string[] = [];
    own.listen(() => order.push('second'));
    own.listen(() => order.push('third'));
    const before = own.current;
    own.set({ hostNetwork: gateway('192.168.0.254') });
    expect(changes.at(-1)).toEqual({ now: own.current, before, differs: new Set(['self']) });
    expect(own.current!.self.guarded).toContain('192.168.0.254');
    expect(order).toEqual(['second', 'third']);
    own.set({ hostNetwork: gateway('192.168.0.254') });
    own.set({});
    expect(changes).toHaveLength(2);
    expect(own.facts.hostNetwork).toEqual(gateway('192.168.0.254'));
  });

  it('follows the underlay into the network and out again, and says so each time it gets in', () => {
    const { own, log, changes } = state();
    own.set(FACTS);
    const inside = { ...FACTS.underlay, address: ipAddress('10.5.200.1') };
    own.set({ underlay: inside });
    expect(changes.at(-1)!.differs).toEqual(new Set(['overlay', 'self', 'advice', 'unrouted']));
    expect(own.current!.overlay.hasNetworkRoute).toBe(false);
    own.set({ underlay: { ...inside, mtu: 1400 } });
    expect(log.messages('warn')).toEqual([
      'the network holds an address of the underlay: only peers are routed, all at once',
    ]);
    own.set({ underlay: FACTS.underlay });
    expect(own.current!.overlay).toEqual(exampleOverlay());
    own.set({ underlay: inside });
    expect(log.messages('warn')).toHaveLength(2);
  });

  it('has what follows from a fact before any listener hears of it', () => {
    const { own } = state();
    let seen: unknown;
    own.listen(({ now }) => (seen = own.current === now));
    own.set(FACTS);
    expect(seen).toBe(true);
  });

  it.each(['network', 'underlay', 'hostNetwork'] as const)(
    'reserves nothing of the network while its %s is not known, and needs no lease for that',
    (missing) => {
      const { own } = state();
      const facts = { ...FACTS, lease: undefined, hostNetwork: gateway('10.5.9.1') };
      own.set({ ...facts, [missing]: undefined });
      expect(own.reserved([])).toHaveLength(0);
      own.set({ [missing]: facts[missing] });
      expect(own.reserved([])).toEqual([
        {
          subnet: { address: '10.5.9.1', prefixLength: 32 },
          what: expect.stringContaining('10.5.9.1, ') as string,
        },
      ]);
    },
  );
});

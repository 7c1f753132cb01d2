import fc from 'fast-check';
import { answerWithPeer } from '../../src/core/miss';
import { desiredState, peerNames, peerObjects } from '../../src/core/desired';
import { Reconciler, type Cause } from '../../src/engine/reconciler';
import { ipAddress, subnet } from '../../src/model/address';
import { keyOf, printKernelObject, type KernelObject } from '../../src/model/kernel-state';
import { macAddress } from '../../src/model/mac';
import { linkNameOf, type Overlay } from '../../src/model/overlay';
import { MutablePeerTable, type Peer } from '../../src/model/peer';
import type { KernelNotice } from '../../src/ports';
import { ON_DEMAND, exampleOverlay } from '../support/examples';
import { FakeClock, settle } from '../support/fake-clock';
import { FakeKernel } from '../support/fake-kernel';
import { FakeLog } from '../support/fake-log';

/** Less than the time after which a whole pass is made without any reason: what is right by then, no audit has put right. */
const NO_AUDIT_MILLISECONDS = 50_000;
const MACS = [1, 2, 3, 4].map((n) => macAddress(`02:00:00:00:00:a${n}`));
const ADDRESSES = [1, 2, 3].map((n) => ipAddress(`192.168.7.${n}`));
const SUBNETS = [2, 3, 4].map((n) => subnet(`10.5.${n}.0/24`));

type Step =
  | {
      readonly do: 'put' | 'answer' | 'find';
      readonly subnet: number;
      readonly mac: number;
      readonly address: number;
    }
  | { readonly do: 'remove'; readonly subnet: number }
  | { readonly do: 'delete' | 'damage' | 'refuse'; readonly object: number; readonly mac: number }
  | { readonly do: 'stray'; readonly kind: number }
  | { readonly do: 'refuse all' | 'fail to read' | 'hear' | 'lose' | 'go on' | 'wait' };

const number = fc.nat(50);
const with3 = <D extends string>(what: D) =>
  fc.record({ do: fc.constant(what), subnet: number, mac: number, address: number });
const with2 = <D extends string>(what: D) =>
  fc.record({ do: fc.constant(what), object: number, mac: number });
const alone = <D extends string>(what: D) => fc.record({ do: fc.constant(what) });
const steps: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: with3('put' as const) },
  { weight: 2, arbitrary: with3('answer' as const) },
  { weight: 1, arbitrary: with3('find' as const) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('remove' as const), subnet: number }) },
  { weight: 4, arbitrary: with2('delete' as const) },
  { weight: 4, arbitrary: with2('damage' as const) },
  { weight: 2, arbitrary: with2('refuse' as const) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('stray' as const), kind: number }) },
  { weight: 1, arbitrary: alone('refuse all' as const) },
  { weight: 1, arbitrary: alone('fail to read' as const) },
  { weight: 6, arbitrary: alone('hear' as const) },
  { weight: 1, arbitrary: alone('lose' as const) },
  { weight: 20, arbitrary: alone('go on' as const) },
  { weight: 2, arbitrary: alone('wait' as const) },
);

/** A host whose kernel does nothing until it is told to go on, and whose notices come when they are delivered. */
class World {
  readonly kernel = new FakeKernel();
  readonly clock = new FakeClock();
  readonly log = new FakeLog();
  readonly table = new MutablePeerTable();
  readonly #notices: KernelNotice[] = [];
  readonly #waiting: (() => void)[] = [];
  readonly #stop = new AbortController();
  readonly #reconciler: Reconciler;
  readonly #end: Promise<void>;

  constructor(readonly overlay: Overlay) {
    this.kernel.pace = () => new Promise((resolve) => this.#waiting.push(resolve));
    this.#reconciler = new Reconciler(this.kernel, this.clock, this.log, () => ({
      overlay,
      peers: this.table,
      isInSync: true,
      former: [],
      absent: [],
    }));
    this.kernel.listen(
      { link: linkNameOf(overlay.backend), networks: [overlay.network] },
      (notices) => this.#notices.push(...notices),
      this.#stop.signal,
    );
    this.#end = this.#reconciler.run(() => undefined, this.#stop.signal);
  }

  async take(step: Step): Promise<void> {
    switch (step.do) {
      case 'put': {
        const peer = this.#peerOf(step.subnet, step.mac, step.address);
        const change = peer && this.table.put(peer);
        if (change) this.#reconciler.peersChanged([change]);
        break;
      }
      case 'answer': {
        const peer = this.table.bySubnet(pick(SUBNETS, step.subnet));
        const address = peer?.subnet.address;
        if (address) this.kernel.applyNow(answerWithPeer(this.overlay, peer, { layer: 'l3', address }));
        break;
      }
      case 'find': {
        // Etcd told of it when it was asked: of another time than the watch.
        const peer = this.#peerOf(step.subnet, step.mac, step.address);
        const address = peer?.subnet.address;
        if (!address) break;
        this.kernel.applyNow(answerWithPeer(this.overlay, peer, { layer: 'l3', address }));
        const cause: Cause = { kind: 'wanted', what: 'found' };
        this.#reconciler.lookLater(peerNames(this.overlay, peer), 5_000, cause);
        break;
      }
      case 'remove': {
        const change = this.table.remove(pick(SUBNETS, step.subnet));
        if (change) this.#reconciler.peersChanged([change]);
        break;
      }
      case 'delete': {
        const object = this.#objectOf(step.object);
        if (object) this.kernel.tamper({ verb: 'remove', object });
        break;
      }
      case 'damage': {
        const object = this.#objectOf(step.object);
        if (object) this.kernel.tamper({ verb: 'put', object: damaged(object, step.mac) });
        break;
      }
      case 'refuse': {
        const object = this.#objectOf(step.object);
        if (object) this.kernel.failPut(keyOf(object));
        if (object) this.kernel.failRemove(keyOf(object));
        break;
      }
      case 'stray': {
        const stray = {
          subnet: subnet('10.5.9.0/24'),
          vtepMac: MACS[step.kind % 4]!,
          publicIp: ADDRESSES[2]!,
        };
        const link = this.kernel.state.get('link flannel.1');
        if (link?.kind === 'link' && link.up)
          this.kernel.tamper({ verb: 'put', object: peerObjects(this.overlay, stray)[step.kind % 3]! });
        break;
      }
      case 'refuse all':
        this.kernel.failApply();
        break;
      case 'fail to read':
        this.kernel.failObserve();
        break;
      case 'hear':
        this.#hear();
        break;
      case 'lose':
        this.#notices.length = 0;
        this.#reconciler.trigger({ kind: 'external', what: 'overrun' });
        break;
      case 'go on':
        this.#waiting.shift()?.();
        break;
      case 'wait':
        await this.clock.advance(100);
    }
    await settle();
  }

  /** Lets everything that was begun come to its end. */
  async rest(): Promise<void> {
    while (this.clock.now() < NO_AUDIT_MILLISECONDS) {
      this.#hear();
      for (let quiet = 0; quiet < 2; quiet = this.#waiting.length === 0 ? quiet + 1 : 0) {
        for (const goOn of this.#waiting.splice(0)) goOn();
        await settle();
      }
      await this.clock.advance(1_000);
    }
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    for (const goOn of this.#waiting.splice(0)) goOn();
    await this.#end;
  }

  get actual(): string[] {
    const isRelevant = (object: KernelObject) =>
      object.kind !== 'neighbor-parameters' || object.family === 'ipv4';
    return [...this.kernel.state.values()].filter(isRelevant).map(printKernelObject).sort();
  }

  #hear(): void {
    for (const notice of this.#notices.splice(0)) {
      if (notice.kind !== 'changed') continue;
      const cause: Cause = { kind: 'external', what: notice.what };
      if (notice.name) this.#reconciler.lookAt([notice.name], cause);
      else this.#reconciler.trigger(cause);
    }
  }

  /** Undefined where another peer has that MAC at another address: of two such leases one is not believed. */
  #peerOf(at: number, mac: number, address: number): Peer | undefined {
    const peer = { subnet: pick(SUBNETS, at), vtepMac: pick(MACS, mac), publicIp: pick(ADDRESSES, address) };
    const isRival = [...this.table].some(
      (other) =>
        other.vtepMac === peer.vtepMac &&
        other.publicIp !== peer.publicIp &&
        other.subnet.address !== peer.subnet.address,
    );
    return isRival ? undefined : peer;
  }

  /** One of those that are there and whose change the kernel tells of. */
  #objectOf(at: number): KernelObject | undefined {
    const objects = [...this.kernel.state.values()].filter(({ kind }) => kind !== 'neighbor-parameters');
    return objects[at % Math.max(1, objects.length)];
  }
}

function pick<T>(from: readonly T[], at: number): T {
  return from[at % from.length]!;
}

function damaged(object: KernelObject, by: number): KernelObject {
  switch (object.kind) {
    case 'link':
      return { ...object, mtu: 1300 };
    case 'fdb-entry':
      return { ...object, destination: pick(ADDRESSES, by) };
    case 'neighbor':
      return { ...object, mac: pick(MACS, by) };
    case 'route':
      return object.gateway ? { ...object, gateway: pick(SUBNETS, by).address } : object;
    case 'address':
    case 'neighbor-parameters':
      return object;
  }
}

const RUNS = Number(process.env['VTEPD_RUNS'] ?? 250);

describe('whatever happens while passes are under way,', () => {
  it('preload ends with exactly what the peer table says, without an audit', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(steps, { minLength: 10, maxLength: 60 }), async (all) => {
        const world = new World(exampleOverlay());
        for (const step of all) await world.take(step);
        await world.rest();
        const desired = [...desiredState(world.overlay, world.table, []).values()]
          .map(printKernelObject)
          .sort();
        expect(world.actual).toEqual(desired);
        await world.stop();
      }),
      { seed: 50, numRuns: RUNS },
    );
  });

  it('on demand each peer ends whole and as the table says or not at all, without an audit', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(steps, { minLength: 10, maxLength: 60 }), async (all) => {
        const world = new World(exampleOverlay({ resolve: ON_DEMAND }));
        for (const step of all) await world.take(step);
        await world.rest();
        const { actual } = world;
        const isThere = (peer: Peer) =>
          peerObjects(world.overlay, peer)
            .slice(1)
            .some((object) => actual.includes(printKernelObject(object)));
        const programmed = [...world.table].filter(isThere);
        const desired = [...desiredState(world.overlay, programmed, []).values()]
          .map(printKernelObject)
          .sort();
        expect(actual).toEqual(desired);
        await world.stop();
      }),
      { seed: 51, numRuns: RUNS },
    );
  });
});

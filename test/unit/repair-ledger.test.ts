import { peerObjects, unreachableRoute } from '../../src/core/desired';
import { RepairLedger } from '../../src/engine/repair-ledger';
import { keyOf, type FdbEntry } from '../../src/model/kernel-state';
import { macAddress } from '../../src/model/mac';
import type { Operation } from '../../src/model/operation';
import { exampleOverlay, examplePeer } from '../support/examples';

const repairsOf = (n: number): Operation[] =>
  peerObjects(exampleOverlay(), examplePeer(n)).map((object) => ({ verb: 'put', object }));

const FDB = repairsOf(2).slice(0, 1);
const NEIGHBOR = repairsOf(2).slice(1, 2);
const LINK: Operation = {
  verb: 'put',
  object: {
    kind: 'link',
    name: 'flannel.1',
    mac: examplePeer(1).vtepMac,
    mtu: 1450,
    up: true,
    vxlan: undefined,
  },
};

describe('the repair ledger', () => {
  it('lets everything through that is undone now and then', () => {
    const ledger = new RepairLedger();
    for (let now = 0; now < 60_000; now += 200) {
      expect(ledger.admit(repairsOf(2), now)).toMatchObject({ operations: { length: 3 }, nextAt: Infinity });
    }
  });

  it('slows a fight down, ever more, and lets other objects through meanwhile', () => {
    const ledger = new RepairLedger();
    const made: number[] = [];
    for (let now = 0; now < 60_000; now += 10) {
      const admission = ledger.admit([...repairsOf(2), ...(now % 1_000 === 0 ? repairsOf(3) : [])], now);
      const mine = admission.operations.filter(({ object }) => JSON.stringify(object).includes('10.5.2.0'));
      if (mine.length > 0) made.push(now);
      if (now % 1_000 === 0) expect(admission.operations.length - mine.length).toBeGreaterThanOrEqual(2);
      if (mine.length === 0) expect(admission.nextAt).toBeGreaterThan(now);
    }
    expect(made.length).toBeLessThan(30);
    expect(made.filter((now) => now > 30_000).length).toBeLessThan(3);
  });

  it('holds an object back for a second after twenty repairs in two, then for twice as long each time, up to a minute', () => {
    const ledger = new RepairLedger();
    const repaired: number[] = [];
    for (let now = 0; now < 400_000; now += 100)
      if (ledger.admit(FDB, now).operations.length > 0) repaired.push(now);
    expect(repaired.slice(0, 20)).toEqual(Array.from({ length: 20 }, (_, n) => n * 100));
    const holds = repaired.slice(20).map((at, n) => at - repaired[19 + n]!);
    expect(holds).toEqual([
      1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000, 60_000, 60_000,
    ]);
  });

  it('takes twenty repairs for no fight that took longer than two seconds', () => {
    const ledger = new RepairLedger();
    for (let now = 0; now < 60_000; now += 106) expect(ledger.admit(FDB, now).nextAt).toBe(Infinity);
  });

  it('says when the first of those that it holds back may be repaired', () => {
    const ledger = new RepairLedger();
    for (let now = 0; now < 20; now++) ledger.admit(FDB, now);
    for (let now = 100; now < 120; now++) ledger.admit(NEIGHBOR, now);
    expect(ledger.admit([...FDB, ...NEIGHBOR], 500)).toMatchObject({ operations: [], nextAt: 1_019 });
    expect(ledger.admit([...NEIGHBOR, ...FDB], 500)).toMatchObject({ operations: [], nextAt: 1_019 });
    expect(ledger.admit([...NEIGHBOR, ...FDB], 1_019)).toMatchObject({ operations: FDB, nextAt: 1_119 });
  });

  it('names what is fought about, until two seconds after it may be repaired again', () => {
    const ledger = new RepairLedger();
    ledger.admit(NEIGHBOR, 0);
    for (let now = 0; now < 20; now++) ledger.admit(FDB, now);
    const [key] = FDB.map(({ object }) => keyOf(object));
    for (const now of [20, 1_019, 3_019]) expect(ledger.foughtAbout(now)).toEqual([key]);
    expect(ledger.foughtAbout(3_020)).toEqual([]);
  });

  it('forgets the oldest of more than four thousand objects', () => {
    const ledger = new RepairLedger();
    for (let now = 0; now < 20; now++) ledger.admit(FDB, now);
    const [first] = FDB;
    const others = Array.from({ length: 4_096 }, (_, n): Operation => {
      const mac = macAddress(`02:00:00:01:${hex(n >> 8)}:${hex(n & 255)}`);
      return { verb: 'put', object: { ...(first!.object as FdbEntry), mac } };
    });
    ledger.admit(others.slice(1), 20);
    expect(ledger.foughtAbout(20)).toHaveLength(1);
    ledger.admit(others, 20);
    expect(ledger.foughtAbout(20)).toEqual([]);
  });

  it.each([
    ['again and again', 66_000, [9, 19]],
    ['once in ten minutes, however often', 50_000, [9, 22]],
    ['seldom', 67_000, []],
  ])('what is said of an object that is undone %s (every %i ms)', (_, every, words) => {
    const ledger = new RepairLedger();
    const said = Array.from({ length: 24 }, (_, n) => ledger.admit(FDB, n * every).notable.length);
    expect(said.flatMap((count, n) => (count > 0 ? [n] : []))).toEqual(words);
  });

  it('says once that a fight began, and once that an object is undone often', () => {
    const fast = new RepairLedger();
    const words = [];
    for (let now = 0; now < 20_000; now += 10) words.push(...fast.admit(FDB, now).notable);
    expect(words).toEqual([
      { operation: FDB[0], repairs: 10, isFight: false },
      { operation: FDB[0], repairs: 20, isFight: true },
    ]);
  });

  it('forgets a fight that is over', () => {
    const ledger = new RepairLedger();
    for (let now = 0; now < 5_000; now += 10) ledger.admit(repairsOf(2), now);
    expect(ledger.admit(repairsOf(2), 100_000).operations).toHaveLength(3);
    expect(ledger.admit(repairsOf(2), 100_200).operations).toHaveLength(3);
  });

  it('puts nothing on a link that is held back, and looks again when that may be put', () => {
    const ledger = new RepairLedger();
    for (let now = 0; now < 20; now++) ledger.admit([LINK], now);
    expect(ledger.admit([LINK, ...repairsOf(2)], 500)).toEqual({
      operations: [],
      held: [LINK, ...repairsOf(2)],
      nextAt: 1_019,
      notable: [],
    });
    expect(ledger.admit([LINK, ...repairsOf(2)], 1_019).operations).toHaveLength(4);
  });

  it('puts what is on another link than the one held back, or on none', () => {
    const ledger = new RepairLedger();
    for (let now = 0; now < 20; now++) ledger.admit([LINK], now);
    const unreachable: Operation = { verb: 'put', object: unreachableRoute(examplePeer(9).subnet) };
    const other: Operation = { verb: 'put', object: { ...(FDB[0]!.object as FdbEntry), link: 'flannel.2' } };
    expect(ledger.admit([LINK, unreachable, other], 500).operations).toEqual([unreachable, other]);
  });
});

function hex(octet: number): string {
  return octet.toString(16).padStart(2, '0');
}

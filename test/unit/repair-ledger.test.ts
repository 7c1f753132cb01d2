import { peerObjects } from '../../src/core/desired';
import { RepairLedger } from '../../src/engine/repair-ledger';
import type { Operation } from '../../src/model/operation';
import { exampleOverlay, examplePeer } from '../support/examples';

const repairsOf = (n: number): Operation[] =>
  peerObjects(exampleOverlay(), examplePeer(n)).map((object) => ({ verb: 'put', object }));

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

  it('says once that a fight began, and once that an object is undone often', () => {
    const fast = new RepairLedger();
    const words = [];
    for (let now = 0; now < 20_000; now += 10)
      words.push(...fast.admit(repairsOf(2).slice(0, 1), now).notable);
    expect(words.filter(({ isFight }) => isFight)).toHaveLength(1);
    const slow = new RepairLedger();
    const complaints = [];
    for (let now = 0; now < 600_000; now += 30_000)
      complaints.push(...slow.admit(repairsOf(2).slice(0, 1), now).notable);
    expect(complaints).toMatchObject([{ repairs: 10, isFight: false }]);
  });

  it('forgets a fight that is over', () => {
    const ledger = new RepairLedger();
    for (let now = 0; now < 5_000; now += 10) ledger.admit(repairsOf(2), now);
    expect(ledger.admit(repairsOf(2), 100_000).operations).toHaveLength(3);
    expect(ledger.admit(repairsOf(2), 100_200).operations).toHaveLength(3);
  });

  it('puts nothing on a link that is held back', () => {
    const ledger = new RepairLedger();
    const link: Operation = {
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
    for (let now = 0; now < 500; now += 10) ledger.admit([link], now);
    expect(ledger.admit([link, ...repairsOf(2)], 500).operations).toEqual([]);
  });
});

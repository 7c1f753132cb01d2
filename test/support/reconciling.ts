/** A reconciler on fakes. */
import { desiredState } from '../../src/core/desired';
import { Reconciler, type Cause, type PassReport } from '../../src/engine/reconciler';
import type { Subnet } from '../../src/model/address';
import { kernelStateOf } from '../../src/model/kernel-state';
import type { Overlay } from '../../src/model/overlay';
import { MutablePeerTable, type Peer } from '../../src/model/peer';
import { exampleOverlay } from './examples';
import { FakeClock } from './fake-clock';
import { FakeKernel } from './fake-kernel';
import { FakeLog } from './fake-log';

/** A host with these peers, reconciled until nothing is left to do. */
export async function reconciling({
  overlay = exampleOverlay(),
  peers = [] as Peer[],
  kernel = new FakeKernel(),
  isInSync = true,
} = {}) {
  const clock = new FakeClock();
  const log = new FakeLog();
  const table = new MutablePeerTable(peers);
  const situation = { overlay, peers: table, isInSync, former: [] as Subnet[], absent: [] as Subnet[] };
  const passes: PassReport[] = [];
  const reconciler = new Reconciler(kernel, clock, log, () => situation);
  const stop = new AbortController();
  kernel.listen(
    { link: 'flannel.1', networks: [] },
    (notices) => {
      for (const notice of notices) {
        if (notice.kind !== 'changed') continue;
        const cause: Cause = { kind: 'external', what: notice.what };
        if (notice.name) reconciler.lookAt([notice.name], cause);
        else reconciler.trigger(cause);
      }
    },
    stop.signal,
  );
  const end = reconciler.run((report) => passes.push(report), stop.signal);
  await clock.advance(0);
  return {
    clock,
    log,
    table,
    situation,
    passes,
    kernel,
    reconciler,
    isAsDesired: (now: Overlay = overlay) => {
      const desired = desiredState(now, table, []);
      const actual = [...kernel.state.values()].filter(
        (object) => object.kind !== 'neighbor-parameters' || object.family === 'ipv4',
      );
      return JSON.stringify([...kernelStateOf(actual)].sort()) === JSON.stringify([...desired].sort());
    },
    put: (peer: Peer) => reconciler.peersChanged([table.put(peer)!]),
    remove: (peer: Peer) => reconciler.peersChanged([table.remove(peer.subnet)!]),
    stop: () => (stop.abort(), end),
  };
}

import { desiredState } from '../../src/core/desired';
import { removeFormerLinks } from '../../src/engine/former-links';
import { subnet, type Subnet } from '../../src/model/address';
import { keyOf } from '../../src/model/kernel-state';
import type { Overlay } from '../../src/model/overlay';
import { exampleOverlay } from '../support/examples';
import { FakeClock } from '../support/fake-clock';
import { FakeMachine } from '../support/fake-host';
import { FakeKernel } from '../support/fake-kernel';
import { FakeLog } from '../support/fake-log';

/** The example's overlay, by another VNI, network and subnet. */
function overlayOf(vni: number, network = '10.5.0.0/16', own = '10.5.1.0/24'): Overlay {
  const { backend } = exampleOverlay();
  return exampleOverlay({ backend: { ...backend, vni }, network: subnet(network), subnet: subnet(own) });
}

/** A host with an agent for flannel.1, and the devices of overlays that agents ran for before. */
function hostWith(...earlier: Overlay[]) {
  const machine = new FakeMachine();
  const host = machine.host();
  const kernel = new FakeKernel();
  for (const overlay of [overlayOf(1), ...earlier]) {
    for (const object of desiredState(overlay, [], []).values())
      kernel.tamper({ verb: 'put', object: object });
    const agent = machine.host();
    agent.lock(`flannel.${overlay.backend.vni}`);
    agent.end();
  }
  host.lock('flannel.1');
  const clock = new FakeClock();
  const log = new FakeLog();
  const stop = new AbortController();
  const gone: string[] = [];
  const tidy = (former: Subnet[] = []) =>
    removeFormerLinks(
      kernel,
      host,
      clock,
      log,
      overlayOf(1),
      former,
      (link) => void gone.push(link),
      stop.signal,
    );
  const links = () => [...kernel.state.values()].filter(({ kind }) => kind === 'link').map(keyOf);
  return { machine, kernel, clock, log, gone, tidy, links, stop };
}

test('the device of another VNI of the same network goes, and its lock is free again', async () => {
  const { machine, links, tidy, gone } = hostWith(overlayOf(7));
  await tidy();
  expect(links()).toEqual(['link flannel.1']);
  expect(gone).toEqual(['flannel.7']);
  machine.host().lock('flannel.7');
});

test('so does the device of the network that subnet.env named', async () => {
  const { links, tidy } = hostWith(overlayOf(7, '10.9.0.0/16', '10.9.3.0/24'));
  await tidy([subnet('10.9.3.0/24')]);
  expect(links()).toEqual(['link flannel.1']);
});

test('the device of another overlay stays, though its agent does not run now', async () => {
  const { links, tidy } = hostWith(overlayOf(7, '10.9.0.0/16', '10.9.3.0/24'));
  await tidy();
  expect(links()).toEqual(['link flannel.1', 'link flannel.7']);
});

test('a device stays that an agent runs for', async () => {
  const { machine, links, tidy } = hostWith(overlayOf(7));
  machine.host().lock('flannel.7');
  await tidy();
  expect(links()).toEqual(['link flannel.1', 'link flannel.7']);
});

test('a device stays that no agent of ours was locked for', async () => {
  const { machine, links, tidy } = hostWith(overlayOf(7));
  machine.links.delete('flannel.7');
  await tidy();
  expect(links()).toEqual(['link flannel.1', 'link flannel.7']);
});

test('what the kernel refuses to remove is said once, and tried again', async () => {
  const { kernel, clock, log, links, tidy } = hostWith(overlayOf(7));
  kernel.failRemove('link flannel.7', 'EBUSY', 3);
  const done = tidy();
  await clock.advance(300_000);
  await done;
  expect(links()).toEqual(['link flannel.1']);
  expect(log.messages('warn')).toHaveLength(1);
});

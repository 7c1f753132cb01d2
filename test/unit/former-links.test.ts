import { desiredState } from '../../src/core/desired';
import { formerLinksOf, removeFormerLinks } from '../../src/engine/former-links';
import { subnet, type Subnet } from '../../src/model/address';
import { HostError } from '../../src/model/errors';
import { keyOf, type Link } from '../../src/model/kernel-state';
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
  return { machine, host, kernel, clock, log, gone, tidy, links, stop };
}

test('routes on the device of another VNI are ours if it is of our network, and no agent runs for it', async () => {
  const { host, machine, kernel, stop } = hostWith(overlayOf(7), overlayOf(8, '10.8.0.0/16', '10.8.1.0/24'));
  const interfaces = await kernel.interfaces(stop.signal);
  const found = () => formerLinksOf(interfaces, host, 'flannel.1', [subnet('10.5.0.0/16')]);
  expect(found()).toEqual(['flannel.7']);
  // It may be asked again and again, and nothing stays locked.
  const agent = machine.host();
  agent.lock('flannel.7');
  expect(found()).toEqual([]);
});

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

test('what the kernel refuses to remove is said once, and tried again after a growing wait', async () => {
  const { kernel, clock, log, links, tidy } = hostWith(overlayOf(7));
  clock.random = () => 1;
  kernel.failRemove('link flannel.7', 'EBUSY', 3);
  const start = clock.now();
  const tries: number[] = [];
  const apply = kernel.apply.bind(kernel);
  kernel.apply = (...args) => (tries.push((clock.now() - start) / 1000), apply(...args));
  const done = tidy();
  await clock.advance(300_000);
  await done;
  expect(links()).toEqual(['link flannel.1']);
  expect(tries).toEqual([0, 1, 3, 7]);
  expect(log.lines).toEqual([
    {
      level: 'warn',
      message: 'cannot remove the device of another VNI that an earlier agent left',
      fields: { error: expect.stringContaining('cannot remove link flannel.7') as string },
    },
    {
      level: 'info',
      message: 'removed the device of another VNI that an earlier agent left',
      fields: { link: 'flannel.7' },
    },
    { level: 'info', message: 'what an earlier agent left is removed', fields: { afterSeconds: 7 } },
  ]);
});

test('its lock is free again where the kernel refused', async () => {
  const { kernel, machine, clock, tidy, stop } = hostWith(overlayOf(7));
  kernel.failRemove('link flannel.7', 'EBUSY', 100);
  const done = tidy();
  await clock.advance(10_000);
  machine.host().lock('flannel.7');
  stop.abort();
  await done;
});

test('where the kernel or the host cannot be asked, that is said and tried again', async () => {
  for (const fail of ['kernel', 'host'] as const) {
    const { kernel, host, clock, log, links, tidy } = hostWith(overlayOf(7));
    if (fail === 'kernel') kernel.failObserve();
    else {
      const lock = host.lock.bind(host);
      host.lock = () => {
        host.lock = lock;
        throw new HostError('EROFS', 'cannot write the lock');
      };
    }
    const done = tidy();
    await clock.advance(2_000);
    await done;
    expect(links()).toEqual(['link flannel.1']);
    expect(log.messages('warn')).toEqual([
      'cannot remove the device of another VNI that an earlier agent left',
    ]);
  }
});

test('a mistake of ours is not taken for trouble that goes away', async () => {
  for (const error of [new TypeError('a bug'), Object.assign(new Error('a bug'), { code: 'EBUSY' })]) {
    const { host, tidy } = hostWith(overlayOf(7));
    host.lock = () => {
      throw error;
    };
    await expect(tidy()).rejects.toThrow('a bug');
  }
});

test('nothing is removed, nor complained of, when the agent stops first', async () => {
  const { kernel, clock, log, links, tidy, stop } = hostWith(overlayOf(7));
  const release = kernel.hold();
  const done = tidy();
  await clock.advance(0);
  stop.abort();
  release();
  await done;
  expect(links()).toEqual(['link flannel.1', 'link flannel.7']);
  expect(log.lines).toEqual([]);
});

test('what has the name and is no vxlan device of ours stays', async () => {
  const { kernel, links, tidy } = hostWith(overlayOf(7), overlayOf(8), overlayOf(9));
  const [seventh, eighth] = [7, 8].map((vni) => kernel.state.get(`link flannel.${vni}`) as Link);
  kernel.tamper({ verb: 'remove', object: seventh! });
  kernel.state.set('link flannel.8', { ...eighth!, vxlan: undefined });
  await tidy();
  expect(links()).toEqual(['link flannel.1', 'link flannel.8']);
});

test('a device without an address of these networks stays, though another has one', async () => {
  const { kernel, links, tidy } = hostWith(overlayOf(7));
  const addresses = [...kernel.state.values()].filter((object) => object.kind === 'address');
  for (const object of addresses.filter(({ link }) => link === 'flannel.7'))
    kernel.tamper({ verb: 'remove', object });
  const observe = kernel.observe.bind(kernel);
  // An answer about one device may hold what is on another.
  kernel.observe = async (scope, signal) => {
    const state = new Map(await observe(scope, signal));
    for (const object of addresses) if (object.link === 'flannel.1') state.set(keyOf(object), object);
    return state;
  };
  await tidy();
  expect(links()).toEqual(['link flannel.1', 'link flannel.7']);
});

import { readNetwork } from '../../src/core/network';
import { ConfigWatcher } from '../../src/engine/config-watcher';
import { FakeClock } from '../support/fake-clock';
import { FakeLog } from '../support/fake-log';
import { FakeStore } from '../support/fake-registry';

const CONFIG = '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}';

async function watching() {
  const clock = new FakeClock();
  const store = new FakeStore(clock);
  store.put('config', CONFIG);
  const registry = store.client();
  const log = new FakeLog();
  const watcher = new ConfigWatcher(registry, clock, log, readNetwork(CONFIG));
  const stop = new AbortController();
  const end = watcher.run(stop.signal);
  await clock.advance(0);
  return { clock, store, registry, log, watcher, stop: () => (stop.abort(), end) };
}

describe('a network configuration', () => {
  it('that is written anew and means the same is nothing to speak of', async () => {
    const { clock, store, watcher, log, stop } = await watching();
    store.put(
      'config',
      '{"Network": "10.5.0.0/16", "SubnetLen": 24, "Backend": {"Type": "vxlan", "VNI": 1}}',
    );
    await clock.advance(300_000);
    expect(watcher.trouble).toBeUndefined();
    expect(log.messages('warn')).toEqual([]);
    await stop();
  });

  it.each([
    ['is changed', CONFIG.replace('10.5', '10.6'), 'restart vtepd on every host to follow it'],
    ['is spoiled', 'garbage', 'cannot be used'],
    ['is deleted', undefined, 'it is gone'],
  ])('that %s while we run is said, until it is as it was', async (_, text, words) => {
    const { clock, store, watcher, log, stop } = await watching();
    if (text === undefined) store.delete('config');
    else store.put('config', text);
    await clock.advance(80_000);
    expect(watcher.trouble?.complaint).toContain(words);
    expect(log.messages('warn')).toEqual(['the network configuration in etcd is not the one we run by']);
    store.put('config', CONFIG);
    await clock.advance(80_000);
    expect(watcher.trouble).toBeUndefined();
    await stop();
  });

  it('that cannot be read is no reason to say anything: others say that etcd is away', async () => {
    const { clock, registry, watcher, stop } = await watching();
    registry.down = true;
    await clock.advance(600_000);
    expect(watcher.trouble).toBeUndefined();
    await stop();
  });
});

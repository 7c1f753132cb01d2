import { readNetwork } from '../../src/core/network';
import { ConfigWatcher } from '../../src/engine/config-watcher';
import type { RegistryError } from '../../src/model/errors';
import { FakeClock } from '../support/fake-clock';
import { FakeLog } from '../support/fake-log';
import { FakeStore } from '../support/fake-registry';

const CONFIG = '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}';

async function watching({ random, config = CONFIG }: { random?: number; config?: string } = {}) {
  const clock = new FakeClock();
  if (random !== undefined) clock.random = () => random;
  const store = new FakeStore(clock);
  store.put('config', config);
  const registry = store.client();
  const log = new FakeLog();
  const watcher = new ConfigWatcher(registry, clock, log, readNetwork(config));
  const stop = new AbortController();
  const end = watcher.run(stop.signal);
  await clock.advance(0);
  return { clock, store, registry, log, watcher, end, stop: () => (stop.abort(), end) };
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
    [
      'is changed to what can be no overlay',
      CONFIG.replace('10.5.0.0', '127.5.0.0'),
      'it was changed, and cannot be used: 127.5.0.0/16 cannot be an overlay',
    ],
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
    expect(log.messages('info')).toEqual(['the network configuration is the one we run by again']);
    await stop();
  });

  it.each([
    [0, 45_000],
    [1, 75_000],
  ])('is looked at about once a minute: at random %d every %i ms', async (random, milliseconds) => {
    const { clock, registry, stop } = await watching({ random });
    await clock.advance(milliseconds - 1);
    expect(registry.countOf('readConfig')).toBe(0);
    await clock.advance(1);
    expect(registry.countOf('readConfig')).toBe(1);
    await clock.advance(milliseconds);
    expect(registry.countOf('readConfig')).toBe(2);
    await stop();
  });

  it('is looked at no more when the agent stops, also while etcd is asked', async () => {
    const { clock, registry, stop } = await watching();
    registry.slowMilliseconds = 60_000;
    await clock.advance(80_000);
    await stop();
    await clock.advance(600_000);
    expect(registry.countOf('readConfig')).toBe(1);
  });

  it('that makes us fail in a way we do not know ends the agent, rather than to be kept quiet', async () => {
    const { clock, registry, end } = await watching();
    registry.failNext('readConfig', { error: new TypeError('a bug') as unknown as RegistryError });
    const failure = expect(end).rejects.toThrow('a bug');
    await clock.advance(80_000);
    await failure;
  });

  it('of a network that can be no overlay, and is ours, may be changed all the same', async () => {
    const { clock, store, watcher, stop } = await watching({
      config: CONFIG.replace('10.5.0.0', '127.5.0.0'),
    });
    store.put('config', CONFIG.replace('10.5.0.0', '127.5.0.0').replace('"vxlan"', '"vxlan","VNI":7'));
    await clock.advance(80_000);
    expect(watcher.trouble?.complaint).toContain('restart vtepd on every host to follow it');
    await stop();
  });

  it('that cannot be read is no reason to say anything: others say that etcd is away', async () => {
    const { clock, registry, watcher, stop } = await watching();
    registry.down = true;
    await clock.advance(600_000);
    expect(watcher.trouble).toBeUndefined();
    expect(registry.countOf('readConfig')).toBeGreaterThan(7);
    await stop();
  });
});

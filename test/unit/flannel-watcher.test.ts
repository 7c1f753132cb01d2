/** That flanneld runs beside us: by its process, or by what it does. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FirewallKeeper } from '../../src/engine/firewall-keeper';
import { FlannelWatcher, isFlannelsFile, type FlannelSign } from '../../src/engine/flannel-watcher';
import { findProcess } from '../../src/host/processes';
import { subnet } from '../../src/model/address';
import { FLANNELD, type InstalledBlock } from '../../src/model/firewall';
import { AgentOnFakes } from '../support/agent-on-fakes';
import { FakeClock } from '../support/fake-clock';
import { FakeFirewall } from '../support/fake-firewall';
import { FakeHost } from '../support/fake-host';
import { FakeLog } from '../support/fake-log';

const MINUTE = 60_000;

function watching() {
  const [clock, log, host] = [new FakeClock(), new FakeLog(), new FakeHost()];
  const watcher = new FlannelWatcher(host, clock, log);
  const stop = new AbortController();
  const end = watcher.run(stop.signal);
  return { clock, log, host, watcher, stop: () => (stop.abort(), end) };
}

it('is told by its process, with what to do, and when it is gone', async () => {
  const { clock, log, host, watcher, stop } = watching();
  expect(watcher.isKnown).toBe(false);
  await clock.advance(0);
  expect([watcher.isKnown, watcher.trouble]).toEqual([true, undefined]);
  host.machine.processes.set('flanneld', 77);
  await clock.advance(MINUTE);
  expect(watcher.trouble?.complaint).toBe(
    "flanneld runs on this host beside vtepd: it is process 77; each undoes what the other writes; stop it ('systemctl disable --now flanneld', or keep kube-flannel off this node)",
  );
  host.machine.processes.delete('flanneld');
  await clock.advance(MINUTE);
  expect(watcher.trouble).toBeUndefined();
  expect(log.messages('info', 'warn')).toEqual([
    'flanneld runs on this host beside vtepd',
    'flanneld does not run on this host any more',
  ]);
  await stop();
});

it.each<[FlannelSign[], RegExp | undefined]>([
  [['rules'], /^flanneld seems to run on this host beside vtepd: its firewall rules come back; each undoes/],
  [['subnet file'], undefined],
  [['device'], undefined],
  [
    ['subnet file', 'device'],
    /: the subnet file was written as flannel writes it, our device was made anew; /,
  ],
])('is told by %p alone, or not', async (signs, complaint) => {
  const { clock, watcher, stop } = watching();
  await clock.advance(1_000);
  for (const sign of signs) watcher.note(sign);
  await clock.advance(100);
  if (complaint) expect(watcher.trouble?.complaint).toMatch(complaint);
  else expect(watcher.trouble).toBeUndefined();
  await clock.advance(6 * MINUTE);
  expect(watcher.trouble).toBeUndefined();
  await stop();
});

it('that goes on for an hour is told sparingly', async () => {
  const { clock, log, watcher, stop } = watching();
  for (let n = 0; n < 720; n++) {
    watcher.note('rules');
    await clock.advance(5_000);
  }
  expect(log.messages('warn').length).toBeLessThan(8);
  await stop();
});

it.each([
  ['FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n', true],
  ['FLANNEL_SUBNET=10.5.1.1/24\nDOCKER_OPTS=1\n', false],
  ['', false],
])('a subnet file %j is flannel-like: %p', (text, isSo) => {
  expect(isFlannelsFile(text)).toBe(isSo);
});

describe('rules of flannel', () => {
  const left: InstalledBlock = {
    place: { tool: 'iptables-nft', family: 'ipv4', role: 'masquerade' },
    owner: FLANNELD,
    rules: [],
    inEffect: true,
  };

  it('that were left are removed, and are no sign; that come back are, and do not fill the log', async () => {
    const [clock, log, firewall] = [new FakeClock(), new FakeLog(), new FakeFirewall()];
    firewall.plant(left);
    let seen = 0;
    const wish = {
      link: 'flannel.1',
      overlays: [{ network: subnet('10.5.0.0/16'), subnet: subnet('10.5.1.0/24') }],
      options: { ipMasq: true, fullyRandom: true, forward: true, enableNfTables: true },
    };
    const keeper = new FirewallKeeper(
      firewall,
      clock,
      log,
      5_000,
      () => wish,
      () => seen++,
    );
    const stop = new AbortController();
    const end = keeper.run(stop.signal);
    await clock.advance(20_000);
    expect(seen).toBe(0);
    for (let n = 0; n < 20; n++) {
      firewall.plant(left);
      await clock.advance(5_000);
    }
    expect(seen).toBeGreaterThanOrEqual(5);
    expect(log.messages('warn')).toEqual([]);
    expect(log.messages('info').length).toBeLessThan(4);
    stop.abort();
    await end;
  });
});

it('an agent names it in its status', async () => {
  const host = await new AgentOnFakes().start();
  host.host.machine.processes.set('flanneld', 77);
  await host.clock.advance(MINUTE);
  expect(host.check('flanneld')).toMatchObject({ ok: false, advisory: true });
  await host.stop();
});

it('a program is found by its name as long as it runs, in our network namespace alone', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'vtepd-process-'));
  const program = join(directory, 'vtepd-test-prog');
  copyFileSync('/bin/sleep', program);
  const here = spawn(program, ['600']);
  const elsewhere = spawn('unshare', ['--net', program, '600']);
  try {
    await Promise.all([once(here, 'spawn'), once(elsewhere, 'spawn')]);
    expect(await findProcess('vtepd-test-prog')).toBe(here.pid);
    here.kill('SIGKILL');
    await once(here, 'exit');
    expect(await findProcess('vtepd-test-prog')).toBeUndefined();
  } finally {
    here.kill('SIGKILL');
    elsewhere.kill('SIGKILL');
    rmSync(directory, { recursive: true });
  }
});

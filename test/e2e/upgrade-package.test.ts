/** The Debian package: from v0.1.0's to that of the build under test and back, by dpkg, under systemd, while packets flow. */
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { run } from '../support/lab/command';
import type { Host } from '../support/lab/host';
import { impersonal, settled, stateOf, type HostState } from '../support/lab/host-state';
import { Lab, PREFIX } from '../support/lab/lab';
import { nodePackage } from '../support/lab/node-package';
import { RELEASE, revision } from '../support/lab/revision';
import { bothWays, streaming, withoutLoss } from '../support/lab/stream';
import { SystemdMachine } from '../support/lab/systemd-machine';

const ROOT = resolve(__dirname, '../..');
/** Of the packages; which is the later one is not to depend on what package.json says today. */
const VERSIONS = { old: '0.1.0', new: '0.1.0+next' } as const;
type Build = keyof typeof VERSIONS;
const CONF = '/etc/vtepd/vtepd.conf';
const EDIT = 'log-format=text\n';

/** In memory: dpkg waits for the disk after every file. */
const directory = mkdtempSync('/dev/shm/vtepd-upgrade-');

let lab: Lab;
let machine: SystemdMachine;
let host: Host;
let peer: Host;
/** Before the package was there; and what each makes of a system without it. */
let bare: HostState;
const fresh: Partial<Record<Build, HostState>> = {};
/** What is to be the same through all of it. */
let identity: unknown;

beforeAll(async () => {
  const released = await revision(RELEASE);
  for (const [build, place] of [
    ['old', released],
    ['new', ROOT],
  ] as const)
    await run(join(place, 'scripts/package'), [
      ...['deb', '--version', VERSIONS[build], '--output', join(directory, build)],
    ]);
  lab = await Lab.start({ hosts: 2 });
  [host, peer] = [lab.host(1), lab.host(2)];
  await lab.startAgents([peer]);
  machine = await SystemdMachine.boot(host.namespace, join(lab.directory, 'machine'), {
    units: [],
    files: {
      '/etc/default/vtepd':
        `FLANNELD_ETCD_ENDPOINTS=${lab.etcd.endpoints}\nFLANNELD_IFACE=eth0\n` +
        'FLANNELD_IP_MASQ=true\nFLANNELD_VXLAN_ADMISSION=on\n',
      // A machine that builds may have one that forbids packages to start anything; one that cannot be executed forbids nothing.
      '/usr/sbin/policy-rc.d': '',
    },
    root: '/',
  });
  await bringPackages();
  bare = await stateOfMachine();
  await beginFresh('new');
  await leaveNothing();
  await beginFresh('old');
  // As README.md says. dpkg asks nothing for that, here where nobody could answer.
  machine.write(CONF, `${machine.read(CONF)!}${EDIT}`);
  identity = await identityOf();
});

afterAll(async () => {
  await machine?.end();
  lab?.end();
  rmSync(directory, { recursive: true, force: true });
});

test('an upgrade loses nothing', async () => {
  await changeTo('new');
  expect(await identityOf()).toEqual(identity);
});

test('the way back loses nothing', async () => {
  await changeTo('old');
  expect(await identityOf()).toEqual(identity);
});

test('an upgrade without etcd goes by the state file of v0.1.0', async () => {
  await lab.etcd.stop();
  await changeTo('new');
  expect(await saidAtLastStart()).toContain('starting from memory');
  await lab.etcd.start();
  expect(await identityOf()).toEqual(identity);
});

test('the way back without etcd goes by the state file of this build', async () => {
  await lab.etcd.stop();
  await changeTo('old');
  expect(await saidAtLastStart()).toContain('starting from memory');
  await lab.etcd.start();
  expect(await identityOf()).toEqual(identity);
});

test('a purge of this build leaves nothing of either', async () => {
  await install('new');
  await leaveNothing();
});

/** Onto the machine; with a Node, where it has none as a package. */
async function bringPackages(): Promise<void> {
  for (const build of ['old', 'new'] as const) {
    const file = readdirSync(join(directory, build)).find((name) => name.endsWith('.deb'))!;
    machine.copyIn(join(directory, build, file), `/root/${build}.deb`);
  }
  const { stdout } = await machine.attempt('dpkg-query', '--show', '-f', '${Version}', 'nodejs');
  if (Number.parseInt(stdout) >= 20) return;
  machine.copyIn(await nodePackage(directory), '/root/nodejs.deb');
  await machine.run('dpkg', '--install', '/root/nodejs.deb');
}

/** Installs a package where there is none, and learns what it makes of the host. */
async function beginFresh(build: Build): Promise<void> {
  await install(build);
  await machine.shows('vtepd', { ActiveState: 'active', UnitFileState: 'enabled' });
  writeFileSync(host.agent.subnetFile, machine.read('/run/flannel/subnet.env')!);
  await host.attachContainer();
  await streaming(bothWays(host, peer), async (traffic) => {
    // It may take away later what it has found.
    await traffic.sends(1_000);
    fresh[build] = await look();
  });
}

/** Puts one package in the place of the other, under packets. */
async function changeTo(build: Build): Promise<void> {
  const { MainPID: before } = await machine.show('vtepd', 'MainPID');
  const locks = await locksOfOthers();
  await withoutLoss(bothWays(host, peer), async () => {
    await install(build);
    await machine.shows('vtepd', { ActiveState: 'active', SubState: 'running' });
    // Exactly what it would have made by itself, no more and no less.
    expect(await settled(look, fresh[build]!)).toEqual(fresh[build]);
  });
  const { MainPID, NRestarts } = await machine.show('vtepd', 'MainPID', 'NRestarts');
  expect(MainPID).not.toBe(before);
  expect(NRestarts).toBe('0');
  expect(await machine.run('dpkg-query', '--show', '-f', '${Version}', 'vtepd')).toBe(VERSIONS[build]);
  expect(machine.read(CONF)).toContain(EDIT);
  expect(await machine.run('dpkg', '--verify', 'vtepd')).toBe(`??5?????? c ${CONF}\n`);
  // v0.1.0 leaves one each time.
  if (build === 'new') expect(await locksOfOthers()).toEqual(locks);
}

async function leaveNothing(): Promise<void> {
  await machine.run('dpkg', '--purge', 'vtepd');
  expect(await settled(stateOfMachine, bare)).toEqual(bare);
}

async function look(): Promise<HostState> {
  return impersonal(host, await stateOfMachine());
}

/** Of its files those with a name of ours; of locks and sockets those of its namespace. */
async function stateOfMachine(): Promise<HostState> {
  const { ino } = statSync(host.namespace.path, { bigint: true });
  const files = (await filesWithOurName())
    .map((path) => path.replace(`/${ino}-`, '/NAMESPACE-').replace(/-\d+\.sock$/, '-PID.sock'))
    .filter((path) => !LOCK.test(path));
  return { ...(await stateOf(host)), files: files.join('\n') };
}

const LOCK = /^\/run\/vtepd\/\d+-/;

async function filesWithOurName(): Promise<string[]> {
  const places = ['/etc', '/lib/systemd', '/run', '/usr/bin', '/usr/lib', '/usr/share', '/var/lib'];
  // The runtime of systemd's units comes and goes.
  const find = `find ${places.join(' ')} -path /run/systemd/units -prune -o -print`;
  const found = await machine.run('sh', '-c', `${find} | grep -E 'vtepd|flannel' || true`);
  return found.trim().split('\n').sort();
}

/** Locks that an agent left that ran only to be compiled: in a namespace that is gone, whose number another gets one day. */
async function locksOfOthers(): Promise<string[]> {
  return (await filesWithOurName()).filter(
    (path) => LOCK.test(path) && !path.includes(`/${statSync(host.namespace.path, { bigint: true }).ino}-`),
  );
}

/** Subnet, lease and device. */
async function identityOf() {
  return {
    subnet: machine.read('/run/flannel/subnet.env'),
    lease: await lab.etcd.inspect(`${PREFIX}/subnets/${host.subnet.replace('/', '-')}`),
    link: (await stateOf(host))['link'],
  };
}

async function saidAtLastStart(): Promise<string> {
  const journal = await machine.journal('vtepd');
  return journal.slice(journal.lastIndexOf('vtepd starts'));
}

function install(build: Build): Promise<string> {
  return machine.run('dpkg', '--install', '--force-downgrade', `/root/${build}.deb`);
}

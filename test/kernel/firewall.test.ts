/** The keeper on a real packet filter: what it leaves alone, what it repairs, and how it moves. */
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { removeFirewallRules } from '../../src/engine/firewall-keeper';
import { ADDRESSES, FirewallLab, firewallOf } from '../support/firewall-lab';
import type { KeeperOptions } from '../support/firewall-keeper-process';
import { exitOf } from '../support/lab/command';
import { until } from '../support/lab/until';

const PROGRAM = join(__dirname, '../support/firewall-keeper-process.ts');
const SIGNAL = new AbortController().signal;
/** So long that nothing in these tests is repaired by it. */
const NEVER_MILLISECONDS = 600_000;

let lab: FirewallLab;
const keepers: Keeper[] = [];
const monitors: ChildProcess[] = [];
beforeAll(async () => (lab = await FirewallLab.make()));
afterAll(() => lab.remove());
beforeEach(() => lab.clearRules());
afterEach(async () => {
  for (const keeper of keepers.splice(0)) await keeper.stop();
  for (const monitor of monitors.splice(0)) monitor.kill();
});

interface Line {
  readonly level: string;
  readonly message: string;
  readonly [field: string]: unknown;
}

class Keeper {
  readonly lines: Line[] = [];
  readonly child: ChildProcess;

  constructor(options: Partial<KeeperOptions['options']>, others: Partial<KeeperOptions> = {}) {
    const given: KeeperOptions = {
      options: { ipMasq: true, fullyRandom: true, forward: true, enableNfTables: undefined, ...options },
      network: '10.5.0.0/16',
      subnet: '10.5.1.0/24',
      resyncMilliseconds: NEVER_MILLISECONDS,
      ...others,
    };
    const args = ['--import', 'tsx', PROGRAM, JSON.stringify(given)];
    this.child = lab.host.start(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    createInterface(this.child.stdout!).on('line', (line) => this.lines.push(JSON.parse(line) as Line));
    keepers.push(this);
  }

  /** The first line of that message, after the first so many. */
  said(message: string, after = 0): Promise<Line> {
    const look = () => this.lines.slice(after).find((line) => line.message === message);
    return until(() => `'${message}' in ${JSON.stringify(this.lines)}`, look);
  }

  async settled(): Promise<this> {
    await this.said('firewall rules put in order');
    return this;
  }

  async stop(): Promise<void> {
    this.child.stdin!.end();
    await exitOf(this.child);
  }
}

const START = 'firewall rules put in order';
const REPAIR = 'firewall rules put in order after another program changed some';

const sh = (script: string) => lab.host.run('sh', ['-ec', script]);
const nft = (script: string) => lab.host.run('nft', ['-f', '-'], { input: script + '\n' });
/** nft lists chains in the order in which they were made. */
const sorted = (text: string) => text.split('\n').sort();
const isMasqueraded = async () => (await lab.seen('ipv4', 'pod', 'outside')) === ADDRESSES.ipv4.host;

/** What others may have, in every tool. */
async function installForeignRules(): Promise<void> {
  await nft(`table inet mine {
    set friends {
      type ipv4_addr
      elements = { 10.9.0.1, 10.9.0.2 }
    }
    chain in {
      type filter hook input priority 0; policy accept;
      ip saddr @friends accept
    }
    chain post {
      type nat hook postrouting priority 100; policy accept;
      ip saddr 10.9.0.0/24 masquerade
    }
  }`);
  await sh(`for t in iptables-nft iptables-legacy; do
    $t -N DOCKER-USER; $t -A DOCKER-USER -j RETURN; $t -I FORWARD -j DOCKER-USER
    $t -A FORWARD -i docker0 -o docker0 -m comment --comment "somebody's -j vtepd rule" -j ACCEPT
    $t -P FORWARD DROP
    $t -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
    $t -t mangle -A FORWARD -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu
  done`);
}

/**
 * What real flannel leaves behind when it is stopped: since 0.20 chains of its own (here with those of another network in them, as
 * after a change of the configuration), before that plain rules; since 0.25 nftables, too; and 0.5 its one chain.
 */
async function installFlannelRules(): Promise<void> {
  const OTHER = { 'iptables-nft': '10.77.0.0/16', 'ip6tables-nft': 'fd77::/48' };
  for (const t of ['iptables-nft', 'ip6tables-nft'] as const) {
    const C = t === 'iptables-nft' ? '10.5.0.0/16' : 'fd05::/48';
    await sh(`
      ${t} -t nat -N FLANNEL-POSTRTG
      ${t} -t nat -A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment "flanneld masq" -j RETURN
      ${t} -t nat -A FLANNEL-POSTRTG ! -s ${C} -d ${C} -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
      ${t} -t nat -A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
      ${t} -t nat -N FLANNEL
      ${t} -t nat -A FLANNEL -d ${C} -j ACCEPT
      ${t} -t nat -A POSTROUTING -s ${C} -j FLANNEL
      ${t} -N FLANNEL-FWD
      ${t} -A FLANNEL-FWD -s ${C} -m comment --comment "flanneld forward" -j ACCEPT
      ${t} -A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD
      ${t} -t nat -A FLANNEL-POSTRTG -s ${OTHER[t]} -m comment --comment "flanneld masq" -j MASQUERADE
      ${t} -t nat -A POSTROUTING -s ${OTHER[t]} -d ${OTHER[t]} -m comment --comment "flanneld masq" -j RETURN
      ${t} -t nat -A POSTROUTING -s ${OTHER[t]} -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
      ${t} -A FORWARD -s ${OTHER[t]} -m comment --comment "flanneld forward" -j ACCEPT`);
  }
  for (const [family, version] of [
    ['ip', 'ipv4'],
    ['ip6', 'ipv6'],
  ] as const) {
    await nft(`add table ${family} flannel-${version}
      add chain ${family} flannel-${version} postrtg { type nat hook postrouting priority 100; }
      add chain ${family} flannel-${version} forward { type filter hook forward priority 0; policy accept; }
      add rule ${family} flannel-${version} postrtg meta mark 0x4000 return`);
  }
}

describe.each([
  ['nftables', true],
  ['iptables', false],
])('with %s', (_, enableNfTables) => {
  it('a pass that finds all in place writes nothing: nft monitor stays silent', async () => {
    await new Keeper({ enableNfTables }).settled();
    const monitor = lab.host.start('nft', ['monitor'], { stdio: ['ignore', 'pipe', 'inherit'] });
    monitors.push(monitor);
    let heard = '';
    monitor.stdout!.setEncoding('utf8').on('data', (text: string) => (heard += text));
    const mark = (name: string) => nft(`add table ip ${name}\ndelete table ip ${name}`);
    // What is marked before it listens is never heard, so the mark is made again.
    await until('nft monitor listens', async () => {
      await mark('begin');
      return heard.includes('begin');
    });
    await keepers[0]!.stop();
    // A new life, with a resync as often as can be, finds everything as it left it.
    const again = await new Keeper({ enableNfTables }, { resyncMilliseconds: 1 }).settled();
    expect(again.lines[0]).toMatchObject({ changes: '' });
    await lab.seen('ipv4', 'pod', 'peer');
    await again.stop();
    await mark('end');
    await until('nft monitor has heard all', () => heard.includes('end'));
    expect(heard.split('\n').filter((line) => !/ (begin|end)$|^# new generation|^$/.test(line))).toEqual([]);
  });

  it.each([
    ['nft flush ruleset', 'nft flush ruleset'],
    [
      'iptables -F, in every table',
      'iptables -F; iptables -t nat -F; nft list tables | grep vtepd | while read t; do nft flush $t; done',
    ],
    [
      'a jump that is gone, or an empty chain',
      'iptables -t nat -D POSTROUTING 1 || nft flush chain ip vtepd-flannel.1 postrouting',
    ],
    [
      'a rule in between',
      'iptables -t nat -I VTEPD-MASQ-flannel.1 3 -j RETURN || nft insert rule ip vtepd-flannel.1 postrouting return',
    ],
  ])('%s is repaired as soon as it happens', async (_, damage) => {
    const keeper = await new Keeper({ enableNfTables }).settled();
    await until('masqueraded', isMasqueraded);
    await sh(`{ ${damage}; } 2>&1`);
    await keeper.said(REPAIR);
    // The first repair may come between two of the commands.
    await until('masqueraded', isMasqueraded);
  });

  it('rules outlive the keeper, however it ends', async () => {
    const keeper = await new Keeper({ enableNfTables }).settled();
    keeper.child.kill('SIGKILL');
    await exitOf(keeper.child);
    expect(await isMasqueraded()).toBe(true);
  });

  it('what others have stays exactly as it is, while we come, and when we are removed', async () => {
    await installForeignRules();
    const before = await lab.ruleset();
    await (await new Keeper({ enableNfTables }).settled()).stop();
    expect(await isMasqueraded()).toBe(true);
    const firewall = firewallOf(lab);
    const said: string[] = [];
    expect(await removeFirewallRules(firewall, (line) => said.push(line), SIGNAL)).toEqual([]);
    expect(said).toHaveLength(3);
    expect(await lab.ruleset()).toBe(before);
  });

  it('real flannel’s rules go, and ours take their place', async () => {
    await sh(
      'iptables-nft -P FORWARD ACCEPT; iptables-nft -t nat -P POSTROUTING ACCEPT; ip6tables-nft -P FORWARD ACCEPT; ip6tables-nft -t nat -P POSTROUTING ACCEPT',
    );
    await (await new Keeper({ enableNfTables }).settled()).stop();
    const ours = await lab.ruleset();
    await lab.clearRules();
    await installFlannelRules();
    await (await new Keeper({ enableNfTables }).settled()).stop();
    const text = await lab.ruleset();
    expect(text).not.toMatch(/flannel-ipv|FLANNEL|flanneld/);
    expect(text.split('\n').sort()).toEqual(
      expect.arrayContaining(ours.split('\n').filter((line) => line.includes('VTEPD'))),
    );
  });

  it('so do the plain rules of its early versions, and its empty table; what it has for another network stays', async () => {
    await sh('iptables-nft -t nat -P POSTROUTING ACCEPT');
    const early = [
      '-s 10.5.0.0/16 -d 10.5.0.0/16 -j RETURN',
      '-s 10.5.0.0/16 ! -d 224.0.0.0/4 -j MASQUERADE',
      '! -s 10.5.0.0/16 -d 10.5.1.0/24 -j RETURN',
      '! -s 10.5.0.0/16 -d 10.5.0.0/16 -j MASQUERADE',
      '-s 10.5.0.0/16 ! -d 10.5.0.0/16 -j MASQUERADE',
    ];
    const others = [
      '! -s 10.8.0.0/16 -d 10.8.0.0/16 -j MASQUERADE',
      '-s 10.5.0.0/16 ! -d 192.168.0.0/16 -j MASQUERADE',
      '-s 192.168.122.0/24 ! -d 192.168.122.0/24 -j MASQUERADE',
      '-s 10.8.0.0/16 -j FLANNEL',
    ];
    await sh('iptables-nft -t nat -N FLANNEL; iptables-nft -t nat -A FLANNEL -d 10.8.0.0/16 -j ACCEPT');
    for (const rule of [...early, ...others]) await sh(`iptables-nft -t nat -A POSTROUTING ${rule}`);
    await sh('nft add table ip6 flannel-ipv6');
    await (await new Keeper({ enableNfTables }).settled()).stop();
    const left = await sh('iptables-nft-save -t nat');
    for (const rule of early) expect(left).not.toContain(`-A POSTROUTING ${rule}`);
    for (const rule of others) expect(left).toContain(`-A POSTROUTING ${rule}`);
    expect(left).toContain('-A FLANNEL -d 10.8.0.0/16 -j ACCEPT');
    expect(await sh('nft list tables')).not.toContain('flannel-ipv6');
  });

  it('another network takes the place of the old one', async () => {
    await (
      await new Keeper({ enableNfTables }, { network: '10.9.0.0/16', subnet: '10.9.3.0/24' }).settled()
    ).stop();
    expect(await lab.ruleset()).toContain('10.9.3.0/24');
    await (await new Keeper({ enableNfTables }).settled()).stop();
    expect(await lab.ruleset()).not.toContain('10.9.');
    expect(await isMasqueraded()).toBe(true);
  });
});

it('moving from one tool to another leaves nothing behind, and no packet goes unmasqueraded meanwhile', async () => {
  await (await new Keeper({ enableNfTables: false, forward: false }).settled()).stop();
  const before = await lab.ruleset();
  expect(before).toContain('VTEPD-MASQ-flannel.1');
  const sources = new Set<string>();
  const moving = new Keeper({ enableNfTables: true, forward: false });
  let isSettled = false;
  void moving.settled().then(() => (isSettled = true));
  while (!isSettled) sources.add(await lab.seen('ipv4', 'pod', 'outside'));
  await moving.stop();
  expect(await lab.ruleset()).toMatch(/table ip vtepd-flannel.1/);
  expect(await lab.ruleset()).not.toContain('VTEPD');
  const back = new Keeper({ enableNfTables: false, forward: false });
  isSettled = false;
  void back.settled().then(() => (isSettled = true));
  while (!isSettled) sources.add(await lab.seen('ipv4', 'pod', 'outside'));
  await back.stop();
  expect(sorted(await lab.ruleset())).toEqual(sorted(before));
  expect([...sources]).toEqual([ADDRESSES.ipv4.host]);
});

it('no packet goes unmasqueraded while rules are replaced', async () => {
  await (await new Keeper({}).settled()).stop();
  const sources = new Set<string>();
  for (const fullyRandom of [false, true, false]) {
    const keeper = new Keeper({ fullyRandom });
    let isSettled = false;
    void keeper.settled().then(() => (isSettled = true));
    while (!isSettled) sources.add(await lab.seen('ipv4', 'pod', 'outside'));
    expect(keeper.lines.find(({ message }) => message === START)).toMatchObject({
      changes: expect.stringContaining('put masquerade') as string,
    });
    await keeper.stop();
  }
  expect([...sources]).toEqual([ADDRESSES.ipv4.host]);
});

describe("a rule that drops the overlay for a moment, before the administrator's chain", () => {
  const forward = async () =>
    (await sh('iptables-nft -S FORWARD')).match(/DOCKER-USER|VTEPD-FWD-flannel.1|-i flannel.1 -j DROP/g);
  const settle = async () => {
    await sh(`iptables-nft -N DOCKER-USER; iptables-nft -A DOCKER-USER -p tcp --dport 23 -j DROP
      iptables-nft -I FORWARD -j DOCKER-USER; iptables-nft -P FORWARD DROP`);
    return new Keeper({ enableNfTables: true }).settled();
  };
  const isBehind = async () => (await forward())?.join() === 'DOCKER-USER,VTEPD-FWD-flannel.1';
  const isInFront = async () =>
    (await forward())?.join() === 'VTEPD-FWD-flannel.1,-i flannel.1 -j DROP,DOCKER-USER';

  it('comes and goes: our jump goes to the front and back, and on the way back no packet is lost', async () => {
    const keeper = await settle();
    expect(await isBehind()).toBe(true);
    await sh('iptables-nft -I FORWARD -i flannel.1 -j DROP');
    await until('it is in front', isInFront);
    const sources = new Set([await lab.seen('ipv4', 'peer', 'pod')]);
    await sh('iptables-nft -D FORWARD -i flannel.1 -j DROP');
    await until('it is behind', async () => {
      sources.add(await lab.seen('ipv4', 'peer', 'pod'));
      return isBehind();
    });
    sources.add(await lab.seen('ipv4', 'peer', 'pod'));
    expect([...sources]).toEqual([ADDRESSES.ipv4.peer]);
    expect(keeper.lines.filter(({ level }) => level !== 'info')).toEqual([]);
  });

  it('goes while we are away: the next life finds its place', async () => {
    const keeper = await settle();
    await sh('iptables-nft -I FORWARD -i flannel.1 -j DROP');
    await until('it is in front', isInFront);
    await keeper.stop();
    await sh('iptables-nft -D FORWARD -i flannel.1 -j DROP');
    await new Keeper({ enableNfTables: true }).settled();
    expect(await isBehind()).toBe(true);
  });
});

it('iptables-legacy tells nobody: its rules are repaired by the resync', async () => {
  await sh('iptables-legacy -A INPUT -j ACCEPT');
  const keeper = await new Keeper({}, { resyncMilliseconds: 300 }).settled();
  expect(keeper.lines[0]).toMatchObject({ tool: 'iptables-legacy', chosen: 'others have rules in it' });
  await sh('iptables-legacy -t nat -F; iptables-legacy -F; iptables-legacy -P FORWARD DROP');
  await keeper.said(REPAIR);
  // The first repair may come between two of the commands.
  await until('masqueraded', isMasqueraded);
});

it('a Docker that comes later, and drops what is forwarded, is answered when the kernel tells of it', async () => {
  const keeper = await new Keeper({ enableNfTables: true }).settled();
  await sh(
    'iptables-nft -N DOCKER-USER; iptables-nft -I FORWARD -j DOCKER-USER; iptables-nft -P FORWARD DROP',
  );
  await keeper.said(REPAIR);
  await until('it passes', async () => (await lab.seen('ipv4', 'pod', 'peer')) === ADDRESSES.ipv4.pod);
});

it('a table that its owner keeps to himself is left alone: a warning says what to do, and the rest is done', async () => {
  const owner = lab.host.start('nft', ['-i'], { stdio: ['pipe', 'pipe', 'inherit'] });
  try {
    for (const line of [
      'add table inet firewalld { flags owner; }',
      'add chain inet firewalld filter_FORWARD { type filter hook forward priority 10; policy drop; }',
    ]) {
      owner.stdin!.write(`${line}\n`);
    }
    const isThere = async () => (await sh('nft list chains')).includes('filter_FORWARD');
    await until('the table is there', isThere);
    const keeper = await new Keeper({ enableNfTables: true }).settled();
    const line = await keeper.said('another firewall may drop what we forward');
    expect(line).toMatchObject({
      level: 'warn',
      error: expect.stringContaining('firewall-cmd --permanent --zone=trusted') as string,
    });
    expect(await lab.ruleset()).toContain('table ip vtepd-flannel.1');
  } finally {
    owner.stdin!.end();
    await exitOf(owner);
  }
});

describe('tools that are missing, or old,', () => {
  let bin: string;
  beforeEach(() => (bin = mkdtempSync(join(tmpdir(), 'vf-bin-'))));
  afterEach(() => rmSync(bin, { recursive: true }));
  /** A host that has only these programs. */
  const only = (...programs: string[]) => {
    for (const program of programs) symlinkSync(`/usr/sbin/${program}`, join(bin, program));
    return { path: bin };
  };

  /** A program of that name, as a shell script. */
  const script = (name: string, text: string) =>
    writeFileSync(join(bin, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });

  it('none at all: a sentence that says what to install, and no end', async () => {
    const keeper = new Keeper({}, only());
    const line = await keeper.said('cannot read or write the firewall rules; trying again');
    expect(line).toMatchObject({
      level: 'warn',
      error: expect.stringContaining('nft (package nftables) is not installed') as string,
    });
    expect(keeper.child.exitCode).toBeNull();
    // As soon as there is one, it is used.
    only('nft');
    await keeper.settled();
    expect(await isMasqueraded()).toBe(true);
  });

  it('nftables asked for without nft: iptables does it, and says why', async () => {
    const keeper = new Keeper(
      { enableNfTables: true },
      only('iptables-nft', 'iptables-nft-save', 'iptables-nft-restore'),
    );
    const line = await keeper.said('using another firewall tool than the one asked for');
    expect(line.error).toMatch(/EnableNFTables is set; nft .* is not installed/);
    await keeper.settled();
    expect(await isMasqueraded()).toBe(true);
  });

  it('iptables asked for without iptables: nftables does it', async () => {
    const keeper = new Keeper({ enableNfTables: false }, only('nft'));
    await keeper.settled();
    expect(await isMasqueraded()).toBe(true);
  });

  it('an nft from before it spoke JSON is as good as none, and said to be so', async () => {
    script('nft', 'case $1 in --version) echo "nftables v0.8.2 (Joe Btfsplk)" ;; *) exit 1 ;; esac');
    const keeper = new Keeper(
      { enableNfTables: true },
      only('iptables-nft', 'iptables-nft-save', 'iptables-nft-restore'),
    );
    const line = await keeper.said('using another firewall tool than the one asked for');
    expect(line.error).toMatch(/does not work: nft 0\.8\.2 cannot list tables as JSON/);
    await keeper.settled();
    expect(await isMasqueraded()).toBe(true);
  });

  it('an iptables from before 1.6.2 is not asked to wait, nor for fully random ports', async () => {
    script(
      'iptables',
      'case $1 in --version) echo "iptables v1.4.21"; exit ;; esac; exec /usr/sbin/iptables-legacy "$@"',
    );
    script('iptables-save', 'exec /usr/sbin/iptables-legacy-save "$@"');
    script(
      'iptables-restore',
      `case "$*" in *-w*) echo "unrecognized option '--wait'" >&2; exit 2 ;; esac
      rules=$(/bin/cat)
      case $rules in *random-fully*) echo 'unknown option "--random-fully"' >&2; exit 2 ;; esac
      echo "$rules" | /usr/sbin/iptables-legacy-restore "$@"`,
    );
    const keeper = new Keeper({}, { path: bin });
    await keeper.settled();
    expect(await isMasqueraded()).toBe(true);
    expect(await lab.host.run('iptables-legacy-save', ['-t', 'nat'])).toMatch(/-j MASQUERADE$/m);
  });
});

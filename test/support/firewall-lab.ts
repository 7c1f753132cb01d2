/**
 * One host of an overlay with all that its packet filter stands between, in network namespaces:
 *
 *     pod ── docker0 [host] flannel.1 ── peer (a pod of another host)
 *                    eth0 ── outside
 *
 * Each answers UDP with the address that it saw the question come from.
 */
import type { ChildProcess } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { desiredBlocks, planFirewall, type FirewallWish } from '../../src/core/firewall';
import { executeWith } from '../../src/kernel/firewall/execute';
import { LinuxFirewall } from '../../src/kernel/firewall/linux-firewall';
import { ipAddress, subnet, type Family } from '../../src/model/address';
import type { FilterTool } from '../../src/model/firewall';
import { run } from './lab/command';
import { Namespace } from './lab/namespace';
import { until } from './lab/until';

const PREFIX = 'vf';
export const PORT = 7000;
/** The host marks packets to this port as kube-proxy does, among other bits. */
export const MARKED_PORT = 7001;

export const ADDRESSES = {
  ipv4: {
    network: subnet('10.5.0.0/16'),
    subnet: subnet('10.5.1.0/24'),
    pod: '10.5.1.2',
    gateway: '10.5.1.1',
    vtep: '10.5.1.0',
    peer: '10.5.2.2',
    host: '192.168.0.1',
    outside: '192.168.0.9',
    group: '239.1.1.1',
    lengths: [24, 32, 24] as const,
  },
  ipv6: {
    network: subnet('fd05::/48'),
    subnet: subnet('fd05:0:0:1::/64'),
    pod: 'fd05:0:0:1::2',
    gateway: 'fd05:0:0:1::1',
    vtep: 'fd05:0:0:1::ff',
    peer: 'fd05:0:0:2::2',
    host: 'fd00::1',
    outside: 'fd00::9',
    group: 'ff05::1234',
    lengths: [64, 128, 64] as const,
  },
};

export type Who = 'host' | 'pod' | 'peer' | 'outside';
const WHO: readonly Who[] = ['host', 'pod', 'peer', 'outside'];

const SILENCE_MILLISECONDS = 400;
const STATION = join(__dirname, 'firewall-station.mjs');

/** The process that asks and answers in one namespace. */
class Station {
  readonly heard: { heard: string; kind: string }[] = [];
  readonly #answers = new Map<number, (answer: string) => void>();
  readonly #child: ChildProcess;
  #isReady = false;
  #asked = 0;

  constructor(namespace: Namespace, memberships: readonly string[]) {
    const args = [STATION, `${PORT},${MARKED_PORT}`, ...memberships];
    this.#child = namespace.start(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    createInterface(this.#child.stdout!).on('line', (line) => this.#hear(line));
  }

  async ready(): Promise<void> {
    await until('the station is there', () => this.#isReady);
  }

  /** The first answer, once there is one. */
  begin(question: object): { readonly id: number; readonly answer: Promise<string> } {
    const id = this.#asked++;
    this.#child.stdin!.write(`${JSON.stringify({ id, ...question })}\n`);
    return { id, answer: new Promise((resolve) => this.#answers.set(id, resolve)) };
  }

  /** For what is surely answered. */
  async ask(question: object): Promise<string> {
    const { id, answer } = this.begin(question);
    const first = await answer;
    await this.forget(id);
    return first;
  }

  /** Closes the socket that asked. */
  forget(id: number): Promise<string> {
    return this.begin({ forget: id }).answer;
  }

  /** Resolves when it has read, and answered, what had arrived before. */
  turn(): Promise<string> {
    return this.begin({ turn: true }).answer;
  }

  end(): void {
    this.#child.kill('SIGKILL');
  }

  #hear(line: string): void {
    const said = JSON.parse(line) as {
      ready?: true;
      id?: number;
      answer?: string;
      heard?: string;
      kind?: string;
    };
    if (said.ready) this.#isReady = true;
    if (said.heard) this.heard.push({ heard: said.heard, kind: said.kind! });
    if (said.id !== undefined) this.#answers.get(said.id)?.(said.answer!);
  }
}

export class FirewallLab {
  readonly #stations = new Map<Who, Station>();

  private constructor(
    readonly host: Namespace,
    readonly pod: Namespace,
    readonly peer: Namespace,
    readonly outside: Namespace,
  ) {}

  /** The namespaces alone: rules without traffic. */
  static async bare(): Promise<FirewallLab> {
    await removeAbandoned();
    const id = `${PREFIX}-${process.pid}-${made++}`;
    const [host, pod, peer, outside] = WHO.map((who) => new Namespace(`${id}-${who}`));
    await run('ip', ['netns', 'add', host!.name]);
    return new FirewallLab(host!, pod!, peer!, outside!);
  }

  static async make(): Promise<FirewallLab> {
    const lab = await FirewallLab.bare();
    try {
      await lab.#build();
      return lab;
    } catch (error) {
      await lab.remove();
      throw error;
    }
  }

  /** Forgets every rule of every tool in the host, and what connections it remembers. */
  async clearRules(): Promise<void> {
    const tables = ['filter', 'nat', 'mangle', 'raw'];
    const names = await this.host.attempt('cat', ['/proc/net/ip_tables_names', '/proc/net/ip6_tables_names']);
    const script = ['nft flush ruleset'];
    for (const tool of ['iptables-legacy', 'ip6tables-legacy']) {
      for (const table of tables.filter((table) => names.stdout.includes(table))) {
        script.push(`${tool} -t ${table} -F`, `${tool} -t ${table} -X`);
        if (table === 'filter') script.push(`${tool} -P FORWARD ACCEPT`);
      }
    }
    await this.host.run('sh', ['-ec', script.join('\n')]);
  }

  /** Marks packets to {@link MARKED_PORT}, before they are forwarded. */
  async markPackets(): Promise<void> {
    await this.host.run('nft', ['-f', '-'], {
      input: `table inet marker {
        chain prerouting {
          type filter hook prerouting priority -150; policy accept;
          udp dport ${MARKED_PORT} meta mark set 0x4100
        }
      }\n`,
    });
  }

  /** The address that `to` sees when `from` (by that address of its own, if it is named) asks it; or 'no answer'. */
  async seen(
    family: Family,
    from: Who,
    to: Exclude<Who, 'host'>,
    options: { marked?: boolean; own?: string } = {},
  ): Promise<string> {
    const port = options.marked ? MARKED_PORT : PORT;
    const question = { kind: kindOf(family), from: options.own, to: ADDRESSES[family][to], port };
    const [asking, asked] = [this.#stations.get(from)!, this.#stations.get(to)!];
    const { id, answer } = asking.begin(question);
    const over = new AbortController();
    const seen = await Promise.race([answer, silence(asking, asked, over.signal)]);
    // After the last answer the stations may be ended: nothing more is asked of them.
    over.abort();
    await asking.forget(id);
    return seen;
  }

  /** The address that `outside` sees when the host sends to a group by its overlay address. */
  async seenByGroup(family: Family): Promise<string> {
    const { heard } = this.#stations.get('outside')!;
    heard.length = 0;
    const { vtep, group, host } = ADDRESSES[family];
    const by = family === 'ipv4' ? host : '::%eth0';
    await this.#stations
      .get('host')!
      .ask({ kind: kindOf(family), from: vtep, to: group, port: PORT, group: by });
    await until('the group hears', () => heard.length > 0);
    return heard[0]!.heard;
  }

  /**
   * Sends these packets to the host's VXLAN port, each by that address of `outside`; returns the sources that the host's
   * station heard 'group' from, up to the `last` one.
   */
  async heardOfVxlan(
    packets: readonly { readonly from: string; readonly bytes: string }[],
    last: string,
  ): Promise<string[]> {
    const { heard } = this.#stations.get('host')!;
    heard.length = 0;
    for (const { from, bytes } of packets) {
      const question = { kind: 'udp4', from, to: ADDRESSES.ipv4.host, port: 8472, hex: bytes };
      await this.#stations.get('outside')!.ask(question);
    }
    const isHeard = () => heard.some(({ heard: source }) => source === last);
    await until('the last packet is heard', isHeard);
    return heard.map(({ heard: source }) => source);
  }

  /** Everything that every tool holds in the host, as text that compares. */
  async ruleset(): Promise<string> {
    const script =
      'nft list ruleset; for t in iptables-nft ip6tables-nft iptables-legacy ip6tables-legacy; do echo "== $t"; $t-save; done';
    const text = (await this.host.attempt('sh', ['-c', script])).stdout;
    return text.replaceAll(/^#.*\n/gm, '').replaceAll(/\[\d+:\d+\]|packets \d+ bytes \d+/g, '');
  }

  async remove(): Promise<void> {
    for (const station of this.#stations.values()) station.end();
    for (const who of WHO) await run('ip', ['netns', 'del', this[who].name]).catch(() => undefined);
  }

  async #build(): Promise<void> {
    for (const who of WHO) {
      if (who !== 'host') await run('ip', ['netns', 'add', this[who].name]);
      await this[who].ip('link', 'set', 'lo', 'up');
    }
    for (const [who, name] of [
      ['pod', 'docker0'] as const,
      ['peer', 'flannel.1'] as const,
      ['outside', 'eth0'] as const,
    ]) {
      await this.host.ip('link', 'add', name, 'type', 'veth', 'peer', 'eth0', 'netns', this[who].name);
      await this.host.ip('link', 'set', name, 'up');
      await this[who].ip('link', 'set', 'eth0', 'up');
    }
    for (const family of ['ipv4', 'ipv6'] as const) await this.#address(family);
    await this.host.configure({ 'ipv4/ip_forward': 1, 'ipv6/conf/all/forwarding': 1 });
    const { ipv4, ipv6 } = ADDRESSES;
    const groups = ['udp4', ipv4.group, ipv4.outside, 'udp6', ipv6.group, '::%eth0'];
    for (const who of WHO) this.#stations.set(who, new Station(this[who], who === 'outside' ? groups : []));
    await Promise.all([...this.#stations.values()].map((station) => station.ready()));
  }

  async #address(family: Family): Promise<void> {
    const all = ADDRESSES[family];
    const [ofSubnet, whole, ofUnderlay] = all.lengths;
    const flags = family === 'ipv6' ? ['nodad'] : [];
    const add = (who: Who, address: string, length: number, link: string) =>
      this[who].ip('addr', 'add', `${address}/${length}`, 'dev', link, ...flags);
    const route = (who: Who, ...words: string[]) =>
      this[who].ip(family === 'ipv6' ? '-6' : '-4', 'route', 'add', ...words);
    await add('host', all.gateway, ofSubnet, 'docker0');
    await add('host', all.vtep, whole, 'flannel.1');
    await add('host', all.host, ofUnderlay, 'eth0');
    await add('pod', all.pod, ofSubnet, 'eth0');
    await add('peer', all.peer, ofSubnet, 'eth0');
    await add('outside', all.outside, ofUnderlay, 'eth0');
    await route('pod', 'default', 'via', all.gateway);
    await route('peer', `${all.vtep}/${whole}`, 'dev', 'eth0');
    await route('peer', 'default', 'via', all.vtep);
    await route('host', `${ipAddress(all.peer)}/${whole}`, 'dev', 'flannel.1', 'src', all.vtep);
    await route('outside', `${all.network.address}/${all.network.prefixLength}`, 'via', all.host);
  }
}

/** Packets pass in microseconds; but each of the two must have had its turns since, however busy the machine is. */
async function silence(asking: Station, asked: Station, signal: AbortSignal): Promise<string> {
  await sleep(SILENCE_MILLISECONDS, undefined, { signal });
  for (const station of [asked, asking, asked, asking]) {
    signal.throwIfAborted();
    await station.turn();
  }
  return 'no answer';
}

/** The firewall of the host of that lab, which tells of no changes. `outside`: interfaces that lead out of it. */
export function firewallOf(
  lab: FirewallLab,
  outside: () => ReadonlySet<string> = () => new Set(),
): LinuxFirewall {
  return new LinuxFirewall(
    executeWith(['nsenter', `--net=${lab.host.path}`]),
    () => {
      throw new Error('nobody listens in this test');
    },
    () => undefined,
    outside,
  );
}

/** One pass of the keeper, with that tool; returns how much there was to do. */
export async function onePass(
  firewall: LinuxFirewall,
  tool: FilterTool,
  wish: FirewallWish,
): Promise<number> {
  const signal = new AbortController().signal;
  const state = await firewall.observe(['ipv4', 'ipv6'], signal);
  const { puts, removals } = planFirewall(wish.link, desiredBlocks(wish, tool, state), state);
  expect(await firewall.apply(puts, signal)).toEqual([]);
  expect(await firewall.apply(removals, signal)).toEqual([]);
  return puts.length + removals.length;
}

let made = 0;

function kindOf(family: Family): string {
  return family === 'ipv4' ? 'udp4' : 'udp6';
}

/** What a process left that was killed. */
async function removeAbandoned(): Promise<void> {
  for (const name of existsSync('/run/netns') ? readdirSync('/run/netns') : []) {
    const pid = new RegExp(`^${PREFIX}-(\\d+)-`).exec(name)?.[1];
    if (pid && !existsSync(`/proc/${pid}`)) await run('ip', ['netns', 'del', name]).catch(() => undefined);
  }
}

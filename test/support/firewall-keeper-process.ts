/**
 * A firewall keeper in a process of its own, in the network namespace it was started in: `tsx` runs it. Its argument is
 * {@link KeeperOptions} as JSON; it prints its log, a JSON line each, until its input ends.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { openMonitor } from '../../native';
import type { FirewallOptions } from '../../src/core/firewall';
import { FirewallKeeper } from '../../src/engine/firewall-keeper';
import { executeWith } from '../../src/kernel/firewall/execute';
import { LinuxFirewall } from '../../src/kernel/firewall/linux-firewall';
import { outsideLinks } from '../../src/kernel/firewall/outside-links';
import { stampOfRules } from '../../src/kernel/firewall/rules-stamp';
import { subnet } from '../../src/model/address';
import type { Clock, Log } from '../../src/ports';

export interface KeeperOptions {
  readonly options: FirewallOptions;
  readonly network: string;
  readonly subnet: string;
  readonly resyncMilliseconds: number;
  readonly path?: string;
}

const given = JSON.parse(process.argv[2]!) as KeeperOptions;
const say =
  (level: string) =>
  (message: string, fields: object = {}) => {
    process.stdout.write(`${JSON.stringify({ level, message, ...fields })}\n`);
  };
const log: Log = {
  error: say('error'),
  warn: say('warn'),
  info: say('info'),
  debug: say('debug'),
  debugEnabled: true,
};
const clock: Clock = {
  now: () => performance.now(),
  sleep: (milliseconds, signal) => sleep(milliseconds, undefined, { signal }),
  random: Math.random,
  wallTime: Date.now,
};

const execute = executeWith(given.path ? ['env', `PATH=${given.path}`] : []);
const keeper = new FirewallKeeper(
  new LinuxFirewall(execute, openMonitor, stampOfRules, outsideLinks),
  clock,
  log,
  given.resyncMilliseconds,
  () => ({
    link: 'flannel.1',
    overlays: [{ network: subnet(given.network), subnet: subnet(given.subnet) }],
    options: given.options,
  }),
);
const stop = new AbortController();
process.stdin.on('end', () => stop.abort()).resume();
void keeper.run(stop.signal);

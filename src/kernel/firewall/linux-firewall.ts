/** The packet filter of this host, by its own tools. */
import { openMonitor } from '../../../native';
import type { Family } from '../../model/address';
import type {
  FailedFirewallOperation,
  FilterTool,
  FirewallOperation,
  FirewallState,
  ForwardGate,
  InstalledBlock,
  ToolState,
} from '../../model/firewall';
import { HostError } from '../../model/errors';
import type { Firewall } from '../../ports';
import { listenToChanges } from './change-monitor';
import { executeWith, type Execute } from './execute';
import { Iptables } from './iptables';
import type { Outside } from './forward-path';
import { Nftables } from './nftables';
import { outsideLinks } from './outside-links';
import { stampOfRules } from './rules-stamp';
import { findTools, type FoundTools } from './tools';

/** The packet filter of our network namespace. */
export function openFirewall(): Firewall {
  return new LinuxFirewall(executeWith(), openMonitor, stampOfRules, outsideLinks);
}

/** Where the tools' rules are; only the tools know how to say it. */
export class LinuxFirewall implements Firewall {
  readonly #nftables: Nftables;
  #found: FoundTools | undefined;
  /** What was read last, of which families and with which interfaces outside, and the stamp of the rules just before. */
  #last: { readonly stamp: string; readonly key: string; readonly state: FirewallState } | undefined;

  /** `stamp`: see {@link stampOfRules}; `outside`: {@link outsideLinks}. */
  constructor(
    private readonly execute: Execute,
    private readonly open: typeof openMonitor,
    private readonly stamp: () => string | undefined,
    private readonly outside: () => Outside,
  ) {
    this.#nftables = new Nftables(execute, outside);
  }

  /**
   * Asks the tools only if the rules may have changed since they last answered: starting one stops our event loop for some
   * milliseconds (Node forks), and rules are looked at every five seconds.
   */
  async observe(families: readonly Family[], signal: AbortSignal): Promise<FirewallState> {
    const stamp = this.stamp();
    const key = [...families, ...this.outside()].join(' ');
    if (stamp !== undefined && this.#last?.stamp === stamp && this.#last.key === key) return this.#last.state;
    this.#last = undefined;
    const state = await this.#observeAnew(families, signal);
    // Without any tool, one is still looked for each time.
    if (stamp !== undefined && state.tools.size > 0) this.#last = { stamp, key, state };
    return state;
  }

  async #observeAnew(families: readonly Family[], signal: AbortSignal): Promise<FirewallState> {
    const found = await this.#tools(signal);
    try {
      return await this.#read(found, families, signal);
    } catch (error) {
      // It may have been removed, or replaced by another version: look again next time.
      this.#found = undefined;
      throw error;
    }
  }

  async apply(
    operations: readonly FirewallOperation[],
    signal: AbortSignal,
  ): Promise<readonly FailedFirewallOperation[]> {
    const found = await this.#tools(signal);
    const failed: FailedFirewallOperation[] = [];
    for (const tool of new Set(operations.map(({ block }) => block.place.tool))) {
      const group = operations.filter(({ block }) => block.place.tool === tool);
      const writer = this.#writer(tool, found);
      if (writer) failed.push(...(await writer.apply(group, signal)));
      else {
        const error = new HostError('ENOENT', `${tool} does not work here`);
        failed.push(...group.map((operation) => ({ operation, error })));
      }
    }
    return failed;
  }

  listen(onChange: () => void, signal: AbortSignal): void {
    listenToChanges(this.open, onChange, signal);
  }

  /** Tools that were found are remembered; while one is missing, it is looked for each time. */
  async #tools(signal: AbortSignal): Promise<FoundTools> {
    if (!this.#found || this.#found.problems.length > 0) this.#found = await findTools(this.execute, signal);
    return this.#found;
  }

  #writer(tool: FilterTool, { nftables, iptables }: FoundTools): Nftables | Iptables | undefined {
    if (tool === 'nftables') return nftables && this.#nftables;
    const variant = iptables.find((candidate) => candidate.variant.tool === tool)?.variant;
    return variant && new Iptables(this.execute, variant, this.outside);
  }

  async #read(
    { nftables, iptables, problems }: FoundTools,
    families: readonly Family[],
    signal: AbortSignal,
  ): Promise<FirewallState> {
    const tools = new Map<FilterTool, ToolState>();
    const blocks: InstalledBlock[] = [];
    const gates: ForwardGate[] = [];
    for (const { variant, ...state } of iptables) {
      const reading = await new Iptables(this.execute, variant, this.outside).read(families, signal);
      tools.set(variant.tool, { ...state, isInUse: reading.isInUse });
      blocks.push(...reading.blocks);
      gates.push(...reading.gates);
    }
    if (nftables) {
      // To nft, iptables-nft's tables look like any other's; but only iptables-nft may write to them.
      const its = gates.filter(({ place }) => place.tool === 'iptables-nft').map(({ place }) => place.family);
      const reading = await this.#nftables.read(families, new Set(its), signal);
      tools.set('nftables', { ...nftables, isInUse: reading.gates.length > 0 });
      blocks.push(...reading.blocks);
      gates.push(...reading.gates);
    }
    return { tools, problems, blocks, gates };
  }
}

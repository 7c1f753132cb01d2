/** A packet filter in memory: three tools, and what others do to forwarded packets. */
import { familyOf, type Family } from '../../src/model/address';
import { HostError } from '../../src/model/errors';
import {
  printFirewallOperation,
  printFirewallPlace,
  printFirewallRule,
  type FailedFirewallOperation,
  type FilterTool,
  type FirewallOperation,
  type FirewallPlace,
  type FirewallState,
  type ForwardGate,
  type InstalledBlock,
  type ToolState,
} from '../../src/model/firewall';
import type { Firewall } from '../../src/ports';

const WORKING: ToolState = { version: '1.8.9', hasFullyRandom: true, isDefault: false, isInUse: false };

export class FakeFirewall implements Firewall {
  readonly tools = new Map<FilterTool, ToolState>([
    ['iptables-nft', { ...WORKING, isDefault: true }],
    ['iptables-legacy', WORKING],
    ['nftables', { ...WORKING, version: '1.0.6' }],
  ]);
  problems: string[] = [];
  /** Every operation that was asked for, refused ones too, in order, as text. */
  readonly operations: string[] = [];
  observations = 0;
  /** Makes {@link listen} throw. */
  isDeaf = false;

  readonly #blocks = new Map<string, InstalledBlock>();
  readonly #gates = new Map<string, ForwardGate>();
  readonly #listeners = new Set<() => void>();
  #refused: { pattern: RegExp; error: Error } | undefined;
  #observeError: Error | undefined;

  observe(families: readonly Family[], signal: AbortSignal): Promise<FirewallState> {
    if (signal.aborted) return Promise.reject(signal.reason as Error);
    this.observations++;
    if (this.#observeError) return Promise.reject(this.#observeError);
    const isAsked = ({ place }: { place: FirewallPlace }) =>
      families.includes(place.family) && this.tools.has(place.tool);
    return Promise.resolve({
      tools: new Map(this.tools),
      problems: this.problems,
      blocks: [...this.#blocks.values()].filter(isAsked),
      gates: [...this.#gates.values()].filter(isAsked),
    });
  }

  apply(
    operations: readonly FirewallOperation[],
    signal: AbortSignal,
  ): Promise<readonly FailedFirewallOperation[]> {
    if (signal.aborted) return Promise.reject(signal.reason as Error);
    const failed: FailedFirewallOperation[] = [];
    for (const operation of operations) {
      const text = printFirewallOperation(operation);
      this.operations.push(text);
      const { place } = operation.block;
      if (this.#refused?.pattern.test(text)) failed.push({ operation, error: this.#refused.error });
      else if (!this.tools.has(place.tool)) {
        failed.push({ operation, error: new HostError('ENOENT', `${place.tool} does not work here`) });
      } else this.#carryOut(operation);
    }
    // Of what was refused, as of a transaction that fails, nobody hears.
    const refused = new Set(failed.map(({ operation }) => operation));
    const isHeard = (operation: FirewallOperation) =>
      !refused.has(operation) && operation.block.place.tool !== 'iptables-legacy';
    if (operations.some(isHeard)) this.#notify();
    return Promise.resolve(failed);
  }

  listen(onChange: () => void, signal: AbortSignal): void {
    if (this.isDeaf) throw new HostError('EPERM', 'cannot listen');
    this.#listeners.add(onChange);
    signal.addEventListener('abort', () => this.#listeners.delete(onChange), { once: true });
  }

  /** What is installed, a line for each block: `flannel.1 masquerade rules (ipv4, nftables): …`. */
  printed(): string[] {
    return [...this.#blocks.values()].map(
      ({ place, owner, rules }) => `${owner} ${printFirewallPlace(place)}: ${rules.length} rules`,
    );
  }

  /** As a reload of somebody's firewall does it: all blocks of that tool go. Tells about it, unless nobody would. */
  flush(tool: FilterTool): void {
    for (const [key, { place }] of this.#blocks) if (place.tool === tool) this.#blocks.delete(key);
    if (tool !== 'iptables-legacy') this.#notify();
  }

  /** Somebody's chain appears, or begins or ceases to drop. */
  putGate(gate: ForwardGate): void {
    this.#gates.set(printFirewallPlace(gate.place), gate);
    if (gate.place.tool !== 'iptables-legacy') this.#notify();
  }

  /** A block that real flannel, or an earlier life of ours, left. */
  plant(block: InstalledBlock): void {
    this.#blocks.set(keyOf(block), block);
  }

  /** Refuses each operation whose text matches, until it is called without a pattern. */
  refuse(pattern?: RegExp, error: Error = new HostError('FAILED', 'refused')): void {
    this.#refused = pattern && { pattern, error };
  }

  /** Makes {@link observe} fail, until it is called without an error. */
  failObserve(error?: Error): void {
    this.#observeError = error;
  }

  #carryOut({ verb, block }: FirewallOperation): void {
    if (verb === 'remove') {
      this.#blocks.delete(keyOf(block));
      return;
    }
    const { place, owner, rules } = block;
    for (const { source, destination } of rules) {
      const subnet = (source ?? destination)?.subnet;
      if (subnet && familyOf(subnet.address) !== place.family)
        throw new RangeError('a rule of another family');
    }
    this.#blocks.set(keyOf(block), { place, owner, rules: rules.map(printFirewallRule), inEffect: true });
    // iptables makes the whole table with the first rule.
    const isNew = place.role !== 'masquerade' && !this.#gates.has(printFirewallPlace(place));
    if (isNew) this.#gates.set(printFirewallPlace(place), { place, drops: false });
  }

  #notify(): void {
    for (const listener of this.#listeners) listener();
  }
}

function keyOf({ place, owner }: Pick<InstalledBlock, 'place' | 'owner'>): string {
  return `${owner} ${printFirewallPlace(place)}`;
}

import type { Family } from '../model/address';
import type { FailedFirewallOperation, FirewallOperation, FirewallState } from '../model/firewall';

/** The packet filter of our network namespace. Methods throw {@link HostError}. */
export interface Firewall {
  /**
   * What is installed of ours and of real flannel's, by whatever tool, and what others do to forwarded packets. A tool that
   * does not work is a problem in the answer; one that worked before and fails now throws, so that a failed read never looks
   * like missing rules.
   */
  observe(families: readonly Family[], signal: AbortSignal): Promise<FirewallState>;
  /**
   * Carries out the operations; returns those that failed, which stop no others. A put replaces the whole block at once: at
   * no moment does a packet find half of the rules, or none.
   */
  apply(
    operations: readonly FirewallOperation[],
    signal: AbortSignal,
  ): Promise<readonly FailedFirewallOperation[]>;
  /**
   * Calls back after nftables' rules changed (iptables-nft's too, and our own changes), until the signal aborts. Nobody tells
   * about iptables-legacy. Throws a {@link KernelError} if it cannot start to listen.
   */
  listen(onChange: () => void, signal: AbortSignal): void;
}

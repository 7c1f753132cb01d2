/** Settings of the kernel that are an administrator's, and that decide whether containers' packets flow. */
export interface KernelSettings {
  /** `net.ipv4.ip_forward`; undefined where it cannot be read. */
  readonly isForwarding: boolean | undefined;
  /** Of the links asked about, those by which nothing comes in that is for others: `net.ipv4.conf.LINK.forwarding` is 0. */
  readonly notForwarding: readonly string[];
  /** Of them, those on which the kernel asks user space for no neighbor: `net.ipv4.neigh.LINK.app_solicit` is 0. */
  readonly notAsking?: readonly string[];
  /** `net.bridge.bridge-nf-call-iptables`; undefined without br_netfilter, which is the same as false. */
  readonly isBridgedFiltered: boolean | undefined;
}

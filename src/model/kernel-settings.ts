/** Settings of the kernel that are an administrator's, and that decide whether containers' packets flow. */
export interface KernelSettings {
  /** `net.ipv4.ip_forward`; undefined where it cannot be read. */
  readonly isForwarding: boolean | undefined;
  /** Of the links asked about, those by which nothing comes in that is for others: `net.ipv4.conf.LINK.forwarding` is 0. */
  readonly notForwarding: readonly string[];
  /** `net.bridge.bridge-nf-call-iptables`; undefined without br_netfilter, which is the same as false. */
  readonly isBridgedFiltered: boolean | undefined;
}

/** What this host says of itself in its lease. */
import { claimsOurMac } from '../core/peers';
import type { IpAddress } from '../model/address';
import type { Lease, LeaseAttributes } from '../model/lease';
import { vtepMacOf, vxlanData } from '../model/lease-codec';
import { localMacOf, type MacAddress } from '../model/mac';
import type { Host, Log } from '../ports';

/**
 * Owns our VTEP MAC: that of the device that is there, else the one our lease names, else a new one; and a new one, too, when
 * another lease has it.
 */
export class Identity {
  #vtepMac: MacAddress | undefined;

  constructor(
    private readonly host: Host,
    private readonly log: Log,
    private readonly vni: number,
    private readonly publicIp: () => IpAddress,
    private readonly leases: () => readonly Lease[],
    /** The MAC of the device that is there: peers know it already. */
    private readonly existingMac: MacAddress | undefined,
  ) {
    this.#vtepMac = existingMac;
  }

  /** Undefined until there is one. */
  get vtepMac(): MacAddress | undefined {
    return this.#vtepMac;
  }

  /** The value of our lease of this name, given the one we take over, if any. */
  attributesFor(held: Lease | undefined, name: string): LeaseAttributes {
    let vtepMac = this.#vtepMac ?? (held && vtepMacOf(held));
    if (vtepMac !== undefined && this.#isClaimed(vtepMac, name)) {
      this.log.warn('another lease has our VTEP MAC; taking a new one', { vtepMac });
      vtepMac = undefined;
    }
    this.#vtepMac = vtepMac ??= localMacOf(this.host.randomBytes(6));
    return {
      publicIp: this.publicIp(),
      publicIpv6: undefined,
      backendType: 'vxlan',
      backendData: vxlanData(this.vni, vtepMac),
      backendV6Data: undefined,
    };
  }

  /** Whether a remembered lease is that of this host as it is now: same PublicIP, and the MAC of its device, if it has one. */
  isOurs(lease: Lease): boolean {
    const vtepMac = vtepMacOf(lease);
    const isOurMac = vtepMac !== undefined && (this.#vtepMac === undefined || this.#vtepMac === vtepMac);
    return isOurMac && lease.attributes.publicIp === this.publicIp();
  }

  /** True for a lease that leads to the device that was there when we started. */
  isProven(lease: Lease): boolean {
    return this.existingMac !== undefined && vtepMacOf(lease) === this.existingMac;
  }

  /**
   * True if a lease other than that of this name leads to another host by this MAC, also one that is younger than ours. To keep the MAC
   * beside such a one left hosts that sent to a former address of ours (seen in simulated worlds).
   */
  #isClaimed(vtepMac: MacAddress, leaseName: string): boolean {
    const self = { leaseName, publicIp: this.publicIp(), vtepMac };
    return this.leases().some((lease) => claimsOurMac(lease, self));
  }
}

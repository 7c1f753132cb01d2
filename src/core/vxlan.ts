/** The VTEP: which device we want, and whether the one that is there can become it. */
import { familyOf } from '../model/address';
import type { Link } from '../model/kernel-state';
import { linkNameOf, type Overlay, type Underlay } from '../model/overlay';
import type { VxlanBackend } from '../model/network-config';

/** Outer Ethernet, IP, UDP and VXLAN headers: what encapsulation costs. The kernel insists on 70 over IPv6. */
const OVERHEAD_BYTES = { ipv4: 50, ipv6: 70 } as const;

/** The MTU of the overlay over this underlay. `Backend.MTU`, where configured, is that of the outer packets. */
export function overlayMtu(backend: VxlanBackend, underlay: Underlay): number {
  const outer = Math.min(backend.mtu ?? underlay.mtu, underlay.mtu);
  return outer - OVERHEAD_BYTES[familyOf(underlay.address)];
}

/** What there is to say of `Backend.MTU`; undefined where it is as it should be, or not configured. */
export function mtuRemark(backend: VxlanBackend, underlay: Underlay): string | undefined {
  const { name, mtu } = underlay;
  if (backend.mtu === undefined || backend.mtu <= mtu) return undefined;
  return (
    `Backend.MTU ${backend.mtu} is above the MTU ${mtu} of ${name}: ` +
    `the overlay has ${overlayMtu(backend, underlay)}, by ${name}; lower Backend.MTU, or raise that of ${name} where its network carries it`
  );
}

export function desiredLink(overlay: Overlay): Link {
  const { backend, underlay } = overlay;
  return {
    kind: 'link',
    name: linkNameOf(backend),
    mac: overlay.vtepMac,
    mtu: overlayMtu(backend, underlay),
    up: true,
    vxlan: {
      vni: backend.vni,
      local: underlay.address,
      underlayIndex: underlay.index,
      port: backend.port,
      learning: backend.learning,
      gbp: backend.gbp,
      // Of no use where every FDB entry is there from the start and its removal is told; and flannel, which has none, would
      // make a device that has it anew, with another MAC, on a host that goes back to it.
      l2miss: overlay.resolve.kind === 'on-demand',
    },
  };
}

/**
 * What makes an existing device unfit, so that it must be deleted and made anew; empty when it fits or can be changed in
 * place. `l2miss` does not count: it cannot be changed in place (6.18), and no packet is worth it.
 */
export function misfits(desired: Link, actual: Link): string[] {
  const want = desired.vxlan;
  const have = actual.vxlan;
  if (!want || !have) return ['it is not a vxlan device'];
  const reasons: string[] = [];
  if (have.vni !== want.vni) reasons.push(`VNI ${have.vni} instead of ${want.vni}`);
  if (have.port !== want.port) reasons.push(`port ${have.port} instead of ${want.port}`);
  if (have.gbp !== want.gbp) reasons.push(have.gbp ? 'GBP is on' : 'GBP is off');
  if (have.remoteChecksum) reasons.push('remote checksum offload is on');
  if (have.mostFdbEntries !== undefined)
    reasons.push(`it takes no more than ${have.mostFdbEntries} FDB entries`);
  if (have.ttlInherited) reasons.push('TTL is inherited');
  if (have.local !== undefined && want.local !== undefined && familyOf(have.local) !== familyOf(want.local)) {
    reasons.push(`an underlay address of another family, ${have.local}`);
  }
  return reasons;
}

/** What differs but can be changed in place, for a person: `mtu 1500 → 1450`. */
export function alterations(desired: Link, actual: Link): string[] {
  const changes: string[] = [];
  const compare = (name: string, have: unknown, want: unknown) => {
    if (have !== want) changes.push(`${name} ${String(have)} → ${String(want)}`);
  };
  compare('mac', actual.mac, desired.mac);
  compare('mtu', actual.mtu, desired.mtu);
  compare('up', actual.up, desired.up);
  compare('master', actual.master ?? 0, desired.master ?? 0);
  compare('protodown', actual.protodown ?? false, desired.protodown ?? false);
  compare('noarp', actual.noarp ?? false, desired.noarp ?? false);
  compare('local', actual.vxlan?.local, desired.vxlan?.local);
  compare('underlay', actual.vxlan?.underlayIndex, desired.vxlan?.underlayIndex);
  compare('learning', actual.vxlan?.learning, desired.vxlan?.learning);
  compare('ttl', actual.vxlan?.ttl ?? 0, desired.vxlan?.ttl ?? 0);
  compare('df', actual.vxlan?.dontFragment ?? 0, desired.vxlan?.dontFragment ?? 0);
  return changes;
}

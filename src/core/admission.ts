/** Only peers may send to the overlay. */
import { familyOf } from '../model/address';
import {
  AdmittedPeers,
  printAdmissionTerms,
  type Admission,
  type AdmittedPeer,
  type InstalledAdmission,
} from '../model/admission';
import { linkNameOf, type Overlay } from '../model/overlay';
import type { Peer } from '../model/peer';

/**
 * Whom to admit: every peer, by its PublicIP. A host that sends from another address than its PublicIP (flannel allows it, for
 * it never looks) is a stranger: that is why admission must be asked for.
 */
export function admissionOf(overlay: Overlay, peers: Iterable<Peer>): Admission {
  const { network, backend, underlay, subnet } = overlay;
  const family = familyOf(underlay.address);
  const admitted: AdmittedPeer[] = [];
  for (const { publicIp, subnet } of peers)
    if (familyOf(publicIp) === family) admitted.push({ publicIp, subnet });
  // Ours too: most peers have that length, and the first that joins is to change no rules.
  const lengths = new Set([subnet.prefixLength, ...admitted.map((peer) => peer.subnet.prefixLength)]);
  return {
    link: linkNameOf(backend),
    port: backend.port,
    vni: backend.vni,
    network,
    family,
    lengths: [...lengths].sort((a, b) => a - b),
    peers: admitted,
  };
}

export type AdmissionStep =
  | { readonly kind: 'nothing' }
  /** The whole table, at once. */
  | { readonly kind: 'install' }
  | {
      readonly kind: 'change';
      readonly add: readonly AdmittedPeer[];
      readonly remove: readonly AdmittedPeer[];
    };

/** What turns what is there into what should be. */
export function planAdmission(desired: Admission, installed: InstalledAdmission | undefined): AdmissionStep {
  if (installed?.terms !== printAdmissionTerms(desired)) return { kind: 'install' };
  const [wanted, there] = [new AdmittedPeers(desired.peers), new AdmittedPeers(installed.peers)];
  const add = desired.peers.filter((peer) => !there.has(peer));
  const remove = installed.peers.filter((peer) => !wanted.has(peer));
  return add.length + remove.length === 0 ? { kind: 'nothing' } : { kind: 'change', add, remove };
}

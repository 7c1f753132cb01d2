/** Only peers may send to the overlay. */
import { familyOf, type Family } from '../model/address';
import {
  printAdmissionTerms,
  printAdmittedPeer,
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
  const { network, backend, underlay } = overlay;
  const family: Family = familyOf(underlay.address);
  const admitted: AdmittedPeer[] = [];
  for (const { publicIp, subnet } of peers)
    if (familyOf(publicIp) === family) admitted.push({ publicIp, subnet });
  const lengths = new Set(admitted.map(({ subnet }) => subnet.prefixLength));
  const [length = 0] = lengths;
  const prefixLength = lengths.size === 1 && length % 8 === 0 ? length : undefined;
  const { port, vni } = backend;
  return { link: linkNameOf(backend), port, vni, network, family, prefixLength, peers: admitted };
}

export type AdmissionStep =
  | { readonly kind: 'nothing' }
  /** The whole table, at once. */
  | { readonly kind: 'install' }
  | { readonly kind: 'change'; readonly add: readonly AdmittedPeer[]; readonly remove: readonly string[] };

/** What turns what is there into what should be. */
export function planAdmission(desired: Admission, installed: InstalledAdmission | undefined): AdmissionStep {
  if (installed?.terms !== printAdmissionTerms(desired)) return { kind: 'install' };
  const wanted = new Map(desired.peers.map((peer) => [printAdmittedPeer(peer), peer]));
  const add = [...wanted].filter(([text]) => !installed.peers.has(text)).map(([, peer]) => peer);
  const remove = [...installed.peers].filter((text) => !wanted.has(text));
  return add.length + remove.length === 0 ? { kind: 'nothing' } : { kind: 'change', add, remove };
}

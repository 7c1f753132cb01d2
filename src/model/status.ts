/** What an agent says of itself to an administrator who asks: `vtepd status`. */
import type { IpAddress } from './address';
import type { MacAddress } from './mac';

/** Subnets as text, times in seconds; undefined for what is not known yet. */
export interface AgentStatus {
  /** What packets need is in place. */
  readonly isReady: boolean;
  readonly overlay: OverlayStatus | undefined;
  readonly lease: LeaseStatus | undefined;
  readonly peers: PeersStatus;
  readonly work: WorkStatus;
  readonly checks: readonly CheckStatus[];
}

/** The answer of one process. */
export interface ProcessStatus extends AgentStatus {
  readonly version: string;
  readonly processId: number;
  readonly runningSeconds: number;
  /** Only of a first host, whose etcd answers. */
  readonly invitation?: Invitation | undefined;
}

/** How the next host joins the etcd of a first one. */
export interface Invitation {
  readonly command: string;
  /** The same for vtepd.conf. */
  readonly configLines: readonly string[];
}

export interface OverlayStatus {
  readonly network: string;
  readonly link: string;
  readonly vni: number;
  readonly mtu: number;
  readonly resolve: 'preload' | 'on-demand';
  readonly underlay: string;
  readonly underlayAddress: IpAddress;
}

export interface LeaseStatus {
  /** The last part of its key. */
  readonly name: string;
  readonly subnet: string;
  readonly publicIp: IpAddress | undefined;
  readonly vtepMac: MacAddress | undefined;
  /** For how long it is good without etcd; undefined for a reservation, which does not expire. */
  readonly remainingSeconds: number | undefined;
  /** Only where etcd is known not to have it any more, and it cannot be written: what etcd has instead, and why. */
  readonly lost?: string;
}

export interface PeersStatus {
  readonly count: number;
  /** Kept although their leases expired. */
  readonly graced: readonly { readonly lease: string; readonly forSeconds: number }[];
  /** Only where they were asked for. */
  readonly list?: readonly PeerStatus[];
}

export interface PeerStatus {
  readonly subnet: string;
  readonly publicIp: IpAddress;
  readonly vtepMac: MacAddress;
}

/** Counted since the start. */
export interface WorkStatus {
  readonly kernelOperations: number;
  /** Peers that joined, left or changed; not told by version 0.1. */
  readonly peerChanges?: number;
  /** Objects put back that somebody else had changed or removed. */
  readonly repairs: number;
  readonly firewallRepairs: number;
  readonly missesAnswered: number;
  readonly missesOfNobody: number;
}

/** `unknown`: nobody has found out yet. */
export type CheckState = 'ok' | 'failing' | 'unknown';

export interface CheckStatus {
  readonly name: string;
  /** Not told by version 0.1, for which what is not known was ok. */
  readonly state?: CheckState;
  /** True for `ok` alone. */
  readonly ok: boolean;
  readonly sinceSeconds: number;
  readonly reason?: string | undefined;
  /** Worth knowing, but packets flow all the same. */
  readonly advisory: boolean;
}

import type { PeerChange } from '../model/peer';

/** Answers misses of the kernel without the event loop. See `Kernel.openMissFastPath`. */
export interface MissFastPath {
  /** What is answered from now on. When this returns, no answer that leads to a peer of before is under way. */
  peersChanged(changes: readonly PeerChange[]): void;
}

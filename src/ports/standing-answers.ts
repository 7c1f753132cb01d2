import type { PeerChange } from '../model/peer';

export interface StandingAnswers {
  /** What is answered from now on. When this returns, no answer that leads to a peer of before is under way. */
  peersChanged(changes: readonly PeerChange[]): void;
}

/** What reading one tool's rules finds. */
import type { ForwardGate, InstalledBlock } from '../../model/firewall';

export interface FilterReading {
  readonly blocks: InstalledBlock[];
  readonly gates: ForwardGate[];
}

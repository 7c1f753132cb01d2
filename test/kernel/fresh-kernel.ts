/** What most kernel tests begin with. */
import { openKernel } from '../../src/kernel/linux-kernel';
import type { NetworkInterface } from '../../src/model/network-interface';
import type { Kernel } from '../../src/ports';
import { clearNamespace, makeUnderlay } from './private-namespace';

export interface FreshKernel {
  readonly kernel: Kernel;
  readonly underlay: NetworkInterface;
}

/** Each test of this file gets a namespace with an underlay and nothing else in it; `take` is called before what the file itself prepares. */
export function onFreshKernel(take: (fresh: FreshKernel) => void): void {
  let kernel: Kernel;
  beforeEach(() => {
    clearNamespace();
    const underlay = makeUnderlay();
    kernel = openKernel();
    take({ kernel, underlay });
  });
  afterEach(() => {
    kernel.close();
    clearNamespace();
  });
}

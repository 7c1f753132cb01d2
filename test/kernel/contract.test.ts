import { openKernel } from '../../src/kernel/linux-kernel';
import { describeKernelContract } from '../support/kernel-contract';
import { clearNamespace, commandOf, makeUnderlay, sendPacket, sh } from './private-namespace';

describeKernelContract('Linux', () => {
  clearNamespace();
  const underlay = makeUnderlay();
  const kernel = openKernel();
  return Promise.resolve({
    kernel,
    underlay,
    tamper: (operation) => Promise.resolve(void sh(commandOf(operation))),
    send: (address) => sendPacket(address),
    close: () => {
      kernel.close();
      clearNamespace();
      return Promise.resolve();
    },
  });
});

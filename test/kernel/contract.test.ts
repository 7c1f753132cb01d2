import { openKernel } from '../../src/kernel/linux-kernel';
import { LINK, describeKernelContract } from '../support/kernel-contract';
import {
  clearNamespace,
  commandOf,
  makeUnderlay,
  reroutingCommandOf,
  sendPacket,
  sh,
} from './private-namespace';

describeKernelContract('Linux', () => {
  clearNamespace();
  const underlay = makeUnderlay();
  sh('sysctl -qw net/ipv4/conf/eth0/forwarding=1');
  const kernel = openKernel();
  return Promise.resolve({
    kernel,
    underlay,
    tamper: (operation) => Promise.resolve(void sh(commandOf(operation))),
    reroute: (verb, what) => Promise.resolve(void sh(reroutingCommandOf(verb, what))),
    send: (address) => {
      // A question waits for its answer for as long as a test may take.
      sh(`sysctl -qw net/ipv4/neigh/${LINK}/retrans_time_ms=600000`);
      return sendPacket(address);
    },
    close: () => {
      kernel.close();
      clearNamespace();
      return Promise.resolve();
    },
  });
});

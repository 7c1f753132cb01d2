/** What every VxlanGuard promises: run on the fake and on Linux. */
import { ipAddress, subnet } from '../../src/model/address';
import { printAdmissionTerms, printAdmittedPeer, type Admission } from '../../src/model/admission';
import type { VxlanGuard } from '../../src/ports';

export interface VxlanGuardEnvironment {
  readonly guard: VxlanGuard;
  close(): Promise<void>;
}

const SIGNAL = new AbortController().signal;

function peerOf(publicIp: string, range: string) {
  return { publicIp: ipAddress(publicIp), subnet: subnet(range) };
}

const IPV4: Admission = {
  link: 'flannel.1',
  port: 8472,
  vni: 1,
  network: subnet('10.5.0.0/16'),
  family: 'ipv4',
  prefixLength: undefined,
  peers: [
    peerOf('192.168.0.2', '10.5.2.0/24'),
    peerOf('192.168.0.3', '10.5.3.0/24'),
    // One host with two subnets, and a subnet of one address.
    peerOf('192.168.0.3', '10.5.4.0/28'),
    peerOf('192.168.0.4', '10.5.5.1/32'),
  ],
};

const EXAMPLES: Record<string, Admission> = {
  'IPv4 over IPv4': IPV4,
  'subnets of one length': { ...IPV4, prefixLength: 24, peers: IPV4.peers.slice(0, 2) },
  'IPv4 over IPv6': { ...IPV4, family: 'ipv6', peers: [peerOf('fd00::2', '10.5.2.0/24')] },
  'IPv6 over IPv6': {
    ...IPV4,
    network: subnet('fd05::/48'),
    family: 'ipv6',
    prefixLength: 64,
    peers: [peerOf('fd00::2', 'fd05:0:0:2::/64'), peerOf('fd00::3', 'fd05:0:0:3::/64')],
  },
  'a network that ends within a byte': {
    ...IPV4,
    network: subnet('10.32.0.0/12'),
    vni: 16_777_215,
    port: 4789,
    peers: [peerOf('192.168.0.2', '10.33.0.0/19')],
  },
  'no peers yet': { ...IPV4, peers: [] },
};

export function describeVxlanGuardContract(name: string, open: () => Promise<VxlanGuardEnvironment>): void {
  describe(`${name} keeps the contract of a VXLAN guard:`, () => {
    let environment: VxlanGuardEnvironment;
    let guard: VxlanGuard;
    beforeEach(async () => {
      environment = await open();
      ({ guard } = environment);
    });
    afterEach(() => environment.close());

    const found = ({ peers, ...admission }: Admission) => ({
      terms: printAdmissionTerms({ peers, ...admission }),
      peers: new Set(peers.map(printAdmittedPeer)),
    });

    it('at first there is none', async () => {
      expect(await guard.observe('flannel.1', SIGNAL)).toBeUndefined();
    });

    it.each(Object.keys(EXAMPLES))('what was installed is found: %s', async (example) => {
      const admission = EXAMPLES[example]!;
      await guard.install(admission, SIGNAL);
      expect(await guard.observe('flannel.1', SIGNAL)).toEqual(found(admission));
      expect(await guard.observe('flannel.2', SIGNAL)).toBeUndefined();
    });

    it('to install again replaces everything', async () => {
      await guard.install(IPV4, SIGNAL);
      const other = { ...IPV4, port: 4789, peers: IPV4.peers.slice(1) };
      await guard.install(other, SIGNAL);
      expect(await guard.observe('flannel.1', SIGNAL)).toEqual(found(other));
    });

    it('peers come and go, also one that keeps another subnet, and one that moves', async () => {
      await guard.install(IPV4, SIGNAL);
      const [first, second, third, fourth] = IPV4.peers as [never, never, never, never];
      const after = { ...IPV4, peers: [peerOf('192.168.0.9', '10.5.2.0/24'), third, fourth] };
      const gone = [first, second].map(printAdmittedPeer);
      await guard.change(after, [after.peers[0]!], gone, SIGNAL);
      expect(await guard.observe('flannel.1', SIGNAL)).toEqual(found(after));
    });

    it('to refuse who was not admitted is an error, and changes nothing', async () => {
      await guard.install(IPV4, SIGNAL);
      const stranger = printAdmittedPeer(peerOf('192.168.0.99', '10.5.99.0/24'));
      const joined = peerOf('192.168.0.8', '10.5.8.0/24');
      await expect(guard.change(IPV4, [joined], [stranger], SIGNAL)).rejects.toThrow();
      expect(await guard.observe('flannel.1', SIGNAL)).toEqual(found(IPV4));
    });

    it('to remove it lets anybody in again; twice is no error', async () => {
      await guard.install(IPV4, SIGNAL);
      await guard.remove('flannel.1', SIGNAL);
      await guard.remove('flannel.1', SIGNAL);
      expect(await guard.observe('flannel.1', SIGNAL)).toBeUndefined();
    });

    it('an aborted signal ends everything with its reason', async () => {
      const signal = AbortSignal.abort(new Error('enough'));
      await expect(guard.observe('flannel.1', signal)).rejects.toThrow('enough');
      await expect(guard.install(IPV4, signal)).rejects.toThrow('enough');
    });
  });
}

/** What every VxlanGuard promises: run on the fake and on Linux. */
import { ipAddress, subnet } from '../../src/model/address';
import {
  AdmittedPeers,
  printAdmissionTerms,
  printAdmittedPeer,
  type Admission,
  type AdmittedPeer,
} from '../../src/model/admission';
import { KernelError } from '../../src/model/errors';
import type { VxlanGuard } from '../../src/ports';

export interface VxlanGuardEnvironment {
  readonly guard: VxlanGuard;
  /** Somebody else removes all there is for that link. */
  flush(link: string): void;
  close(): void;
}

function peerOf(publicIp: string, range: string): AdmittedPeer {
  return { publicIp: ipAddress(publicIp), subnet: subnet(range) };
}

const IPV4: Admission = {
  link: 'flannel.1',
  port: 8472,
  vni: 1,
  network: subnet('10.5.0.0/16'),
  family: 'ipv4',
  lengths: [24, 27, 32],
  peers: [
    peerOf('192.168.0.2', '10.5.2.0/24'),
    peerOf('192.168.0.3', '10.5.3.0/24'),
    // One host with two subnets, and a subnet of one address.
    peerOf('192.168.0.3', '10.5.4.32/27'),
    peerOf('192.168.0.4', '10.5.5.1/32'),
  ],
};

export const ADMISSIONS: Readonly<Record<string, Admission>> = {
  'IPv4 over IPv4': IPV4,
  'subnets of one length': { ...IPV4, lengths: [24], peers: IPV4.peers.slice(0, 2) },
  'subnets of every length': { ...IPV4, lengths: Array.from({ length: 17 }, (_, i) => 16 + i) },
  'IPv4 over IPv6': { ...IPV4, family: 'ipv6', lengths: [24], peers: [peerOf('fd00::2', '10.5.2.0/24')] },
  'IPv6 over IPv6': {
    ...IPV4,
    network: subnet('fd05::/48'),
    family: 'ipv6',
    lengths: [64, 75],
    peers: [peerOf('fd00::2', 'fd05:0:0:2::/64'), peerOf('fd00::3', 'fd05:0:0:3::/75')],
  },
  'a network that ends within a byte': {
    ...IPV4,
    network: subnet('10.32.0.0/12'),
    vni: 16_777_215,
    port: 4789,
    lengths: [19],
    peers: [peerOf('192.168.0.2', '10.33.0.0/19')],
  },
  'no peers yet': { ...IPV4, peers: [] },
};

export function describeVxlanGuardContract(name: string, open: () => VxlanGuardEnvironment): void {
  describe(`${name} keeps the contract of a VXLAN guard:`, () => {
    let environment: VxlanGuardEnvironment;
    let guard: VxlanGuard;
    beforeEach(() => {
      environment = open();
      ({ guard } = environment);
    });
    afterEach(() => environment.close());

    const found = () => {
      const { terms, peers, strangers } = guard.observe('flannel.1') ?? {};
      return { terms, peers: peers?.map(printAdmittedPeer).sort(), strangers };
    };
    const wanted = (admission: Admission) => ({
      terms: printAdmissionTerms(admission),
      peers: admission.peers.map(printAdmittedPeer).sort(),
      strangers: [],
    });

    it('at first there is none', () => {
      expect(guard.observe('flannel.1')).toBeUndefined();
      expect(guard.links()).toEqual([]);
    });

    it.each(Object.keys(ADMISSIONS))('what was installed is found: %s', (example) => {
      const admission = ADMISSIONS[example]!;
      guard.install(admission);
      expect(found()).toEqual(wanted(admission));
      expect(guard.observe('flannel.2')).toBeUndefined();
      expect(guard.links()).toEqual(['flannel.1']);
    });

    it('to install again replaces everything', () => {
      guard.install(IPV4);
      const other = { ...IPV4, port: 4789, peers: IPV4.peers.slice(1) };
      guard.install(other);
      expect(found()).toEqual(wanted(other));
    });

    it('peers come and go, also one that keeps another subnet, and one that moves', () => {
      guard.install(IPV4);
      const [first, second, third, fourth] = IPV4.peers as [never, never, never, never];
      const after = { ...IPV4, peers: [peerOf('192.168.0.9', '10.5.2.0/24'), third, fourth] };
      guard.change(after, new AdmittedPeers(IPV4.peers).change(after.peers, [first, second]));
      expect(found()).toEqual(wanted(after));
    });

    it('to refuse who was not admitted is an error, and changes nothing', () => {
      guard.install(IPV4);
      const stranger = peerOf('192.168.0.99', '10.5.99.0/24');
      const joined = peerOf('192.168.0.8', '10.5.8.0/24');
      const change = new AdmittedPeers([stranger]).change([joined], [stranger]);
      expect(() => guard.change(IPV4, change)).toThrow(KernelError);
      expect(found()).toEqual(wanted(IPV4));
    });

    it('who is admitted twice is admitted', () => {
      guard.install(IPV4);
      guard.change(IPV4, new AdmittedPeers().change(IPV4.peers, []));
      expect(found()).toEqual(wanted(IPV4));
    });

    it('to remove it lets anybody in again; twice is no error', () => {
      guard.install(IPV4);
      guard.remove('flannel.1');
      guard.remove('flannel.1');
      expect(guard.observe('flannel.1')).toBeUndefined();
    });

    it('tells what others do, and not what we do', async () => {
      const stop = new AbortController();
      const listenTo = (link: string) => {
        const heard = { calls: 0, next: () => Promise.resolve() };
        let onCall: () => void = () => undefined;
        heard.next = () => new Promise((resolve) => (onCall = resolve));
        guard.listen(link, () => (heard.calls++, onCall()), stop.signal);
        return heard;
      };
      const [ours, mark] = [listenTo('flannel.1'), listenTo('flannel.2')];
      guard.install(IPV4);
      guard.change(IPV4, new AdmittedPeers().change([peerOf('192.168.0.8', '10.5.8.0/24')], []));
      guard.install(IPV4);
      // What comes after it proves that it has been passed over, by the next turn at the latest.
      const marked = mark.next();
      environment.flush('flannel.2');
      await marked;
      for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
      expect(ours.calls).toBe(0);
      const told = ours.next();
      environment.flush('flannel.1');
      await told;
      expect(guard.observe('flannel.1')).toBeUndefined();
      stop.abort();
    });
  });
}

import { answerWithNobody, answerWithNoSubnet, answerWithPeer, askedSubnet } from '../../src/core/miss';
import { ipAddress, subnet } from '../../src/model/address';
import { printOperation, type Operation } from '../../src/model/operation';
import { ON_DEMAND, exampleOverlay, examplePeer } from '../support/examples';

const overlay = exampleOverlay({ resolve: ON_DEMAND });
const peer = examplePeer(2);
const FDB = 'fdb 02:00:00:00:00:02 dev flannel.1 dst 192.168.0.2 self permanent';
const NEIGHBOR = 'neigh 10.5.2.0 dev flannel.1 lladdr 02:00:00:00:00:02 learned';
const ROUTE = 'route 10.5.2.0/24 via 10.5.2.0 dev flannel.1 proto 84 metric 3 onlink';
const texts = (operations: Operation[]) => operations.map(printOperation);

describe('the answer that leads to a peer', () => {
  it('begins with the FDB entry, and releases the packets that wait for the asked address before the rest', () => {
    const asked = 'neigh 10.5.2.7 dev flannel.1 lladdr 02:00:00:00:00:02 learned';
    const miss = { layer: 'l3', address: ipAddress('10.5.2.7') } as const;
    expect(texts(answerWithPeer(overlay, peer, miss))).toEqual([
      `put ${FDB}`,
      `put ${asked}`,
      `put ${NEIGHBOR}`,
      `put ${ROUTE}`,
      `remove ${asked}`,
    ]);
  });

  it('needs no other neighbor where the gateway itself was asked for', () => {
    const miss = { layer: 'l3', address: ipAddress('10.5.2.0') } as const;
    expect(texts(answerWithPeer(overlay, peer, miss))).toEqual([
      `put ${FDB}`,
      `put ${NEIGHBOR}`,
      `put ${ROUTE}`,
    ]);
  });

  it('is the FDB entry alone where a VTEP was asked for', () => {
    const miss = { layer: 'l2', mac: peer.vtepMac } as const;
    expect(texts(answerWithPeer(overlay, peer, miss))).toEqual([`put ${FDB}`]);
  });
});

describe('the answer "nobody"', () => {
  it('is a failed neighbor for one address', () => {
    expect(printOperation(answerWithNobody(overlay, ipAddress('10.5.9.1')))).toBe(
      'put neigh 10.5.9.1 dev flannel.1 failed',
    );
  });

  it('is an unreachable route for a whole subnet', () => {
    expect(printOperation(answerWithNoSubnet(subnet('10.5.9.0/24')))).toBe(
      'put route unreachable 10.5.9.0/24 proto 84 metric 4294967295',
    );
  });
});

describe('the subnet that was asked for', () => {
  it('is the one that a lease for the address would have', () => {
    expect(askedSubnet(overlay, 24, ipAddress('10.5.9.77'))).toEqual(subnet('10.5.9.0/24'));
    expect(askedSubnet(overlay, 26, ipAddress('10.5.9.77'))).toEqual(subnet('10.5.9.64/26'));
  });

  it.each(['10.6.9.77', '10.4.255.255', '10.5.1.77', '10.5.1.0'])(
    'is none for %s, which no lease can give to a peer',
    (address) => {
      expect(askedSubnet(overlay, 24, ipAddress(address))).toBeUndefined();
    },
  );
});

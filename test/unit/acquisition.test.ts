import { decideAcquisition } from '../../src/core/acquisition';
import { subnet } from '../../src/model/address';
import { exampleClaim, exampleLease, examplePeer } from '../support/examples';

const claim = exampleClaim();

describe('acquiring a subnet', () => {
  it('keeps the lease with our PublicIP', () => {
    const leases = [exampleLease(2), exampleLease(7)];
    expect(decideAcquisition(claim, leases)).toEqual({ kind: 'reuse', lease: leases[1] });
  });

  it('prefers, of two leases with our PublicIP, the one for the subnet we had', () => {
    const { attributes } = exampleLease(7);
    const leases = [exampleLease(3, { attributes }), exampleLease(7)];
    const decision = decideAcquisition({ ...claim, previous: subnet('10.5.7.0/24') }, leases);
    expect(decision).toEqual({ kind: 'reuse', lease: leases[1] });
  });

  it('discards a lease of ours that does not fit the network any more', () => {
    const old = exampleLease(7, { name: '10.9.7.0-24', subnet: subnet('10.9.7.0/24') });
    expect(decideAcquisition(claim, [old])).toEqual({ kind: 'discard', lease: old });
  });

  it('discards a lease of ours of two families, for the overlay carries one', () => {
    const both = exampleLease(7, { name: '10.5.7.0-24&fd00:5::-64', ipv6Subnet: subnet('fd00:5::/64') });
    expect(decideAcquisition(claim, [both])).toEqual({ kind: 'discard', lease: both });
  });

  it('keeps, of two leases with our PublicIP, the one that fits, wherever it stands', () => {
    const { attributes } = exampleLease(7);
    const old = exampleLease(3, { attributes, name: '10.9.3.0-24', subnet: subnet('10.9.3.0/24') });
    const both = exampleLease(4, { attributes, ipv6Subnet: subnet('fd00:5::/64') });
    const ours = { ...claim, ownMacs: [examplePeer(7).vtepMac], previous: subnet('10.5.4.0/24') };
    for (const leases of [
      [old, both, exampleLease(7)],
      [exampleLease(7), both, old],
    ])
      expect(decideAcquisition(ours, leases)).toEqual({
        kind: 'reuse',
        lease: exampleLease(7),
      });
  });

  it('takes the previous subnet when nobody has it', () => {
    const previous = subnet('10.5.9.0/24');
    expect(decideAcquisition({ ...claim, previous }, [exampleLease(2)])).toEqual({
      kind: 'create',
      subnet: previous,
    });
  });

  it.each([
    ['somebody has it', '10.5.2.0/24'],
    ['it is of another length', '10.5.8.0/25'],
    ['it is outside the range', '10.5.0.0/24'],
  ])('does not take the previous subnet when %s', (_, previous) => {
    const decision = decideAcquisition({ ...claim, previous: subnet(previous) }, [exampleLease(2)]);
    expect(decision).toEqual({ kind: 'create', subnet: subnet('10.5.1.0/24') });
  });

  describe.each([
    ['10.5.4.128/25', '10.5.1.0/24'],
    ['10.5.0.0/20', '10.5.16.0/24'],
  ])('where a lease of another length, %s, has part of the subnet that was ours', (leased, free) => {
    const odd = exampleLease(2, { subnet: subnet(leased) });
    const last = subnet('10.5.4.0/24');

    it.each([true, false])(
      'takes the subnet that our containers have: hosts believe a lease that fits first',
      (mayRenumber) => {
        const decision = decideAcquisition({ ...claim, previous: last, mayRenumber }, [odd]);
        expect(decision).toEqual({ kind: 'create', subnet: last });
      },
    );

    it('takes another after a reboot, when nothing has ours any more', () => {
      const remembered = { subnet: last, publicIp: claim.publicIp, vtepMac: undefined, isThisHosts: true };
      expect(decideAcquisition({ ...claim, remembered }, [odd])).toEqual({
        kind: 'create',
        subnet: subnet(free),
      });
    });

    it('takes another when the free ones are asked for', () => {
      expect(decideAcquisition(claim, [odd])).toEqual({ kind: 'create', subnet: subnet(free) });
    });
  });

  it('does not take the previous subnet where a race for it was just lost', () => {
    const previous = subnet('10.5.9.0/24');
    const decision = decideAcquisition({ ...claim, previous, avoid: [previous] }, []);
    expect(decision).toEqual({ kind: 'create', subnet: subnet('10.5.1.0/24') });
  });

  it('takes a free one as the random number says', () => {
    const decision = decideAcquisition({ ...claim, random: 0.5 }, [exampleLease(2)]);
    expect(decision).toEqual({ kind: 'create', subnet: subnet('10.5.129.0/24') });
  });

  it('takes no other than the subnet we had when none is wanted, and says who has it', () => {
    const steadfast = { ...claim, previous: subnet('10.5.2.0/24'), mayRenumber: false };
    const [holder] = [exampleLease(2)];
    expect(decideAcquisition(steadfast, [holder])).toEqual({
      kind: 'lost',
      subnet: subnet('10.5.2.0/24'),
      holder,
    });
    // A race that was lost to somebody who has gone is no loss.
    const avoid = [subnet('10.5.2.0/24')];
    expect(decideAcquisition({ ...steadfast, avoid }, [])).toEqual({
      kind: 'create',
      subnet: subnet('10.5.2.0/24'),
    });
  });

  it('takes any when we had none, or one of another network, whatever is wanted', () => {
    for (const previous of [undefined, subnet('10.9.2.0/24')])
      expect(decideAcquisition({ ...claim, previous, mayRenumber: false }, [])).toEqual({
        kind: 'create',
        subnet: subnet('10.5.1.0/24'),
      });
  });

  it('takes none that turned out to be taken', () => {
    const decision = decideAcquisition({ ...claim, avoid: [subnet('10.5.1.0/24')] }, [exampleLease(2)]);
    expect(decision).toEqual({ kind: 'create', subnet: subnet('10.5.3.0/24') });
  });

  it('says when there is none left', () => {
    const leases = Array.from({ length: 255 }, (_, index) => exampleLease(index + 1)).filter(
      ({ attributes }) => attributes.publicIp !== claim.publicIp,
    );
    const full = { ...claim, avoid: [subnet('10.5.7.0/24')] };
    expect(decideAcquisition(full, leases)).toEqual({ kind: 'exhausted' });
  });
});

import { pastOf } from '../../src/core/underlay-past';
import { ipAddress, subnet } from '../../src/model/address';
import { macAddress } from '../../src/model/mac';
import type { NetworkInterface } from '../../src/model/network-interface';
import type { SavedLease } from '../../src/model/saved-host';
import { examplePeer } from '../support/examples';
import { FAKE_UNDERLAY } from '../support/fake-kernel';

const SAVED: SavedLease = {
  ...examplePeer(7),
  host: {
    machineId: undefined,
    link: 'flannel.1',
    interface: 'eth7',
    hardwareAddress: macAddress('02:ee:00:00:00:07'),
    address: ipAddress('10.0.0.7'),
  },
};
const device = (name: string, local: string, underlayIndex = 2): NetworkInterface => ({
  ...FAKE_UNDERLAY,
  ...{ name, index: 9, kind: 'vxlan', addresses: [] },
  vtep: { underlayIndex, local: ipAddress(local) },
});
const SAVED_HOME = { name: 'eth7', mac: '02:ee:00:00:00:07' };
const HOME = { name: 'eth0', mac: '02:ee:00:00:00:01' };

describe('what this host was before', () => {
  it('is unknown where nothing tells of it', () => {
    expect(pastOf({}, [FAKE_UNDERLAY])).toEqual({ addresses: [] });
  });

  it('is what the state file says: first the address of the interface, then the PublicIP of the lease', () => {
    expect(pastOf({ saved: SAVED }, [FAKE_UNDERLAY])).toEqual({
      addresses: ['10.0.0.7', '192.168.0.7'],
      home: SAVED_HOME,
    });
    expect(pastOf({ saved: { ...SAVED, host: undefined } }, [])).toEqual({ addresses: ['192.168.0.7'] });
  });

  it('is rather what our device sends by, if it is there', () => {
    const interfaces = [device('flannel.2', '10.0.0.2'), device('flannel.1', '10.0.0.1'), FAKE_UNDERLAY];
    expect(pastOf({ saved: SAVED }, interfaces)).toEqual({
      addresses: ['10.0.0.1', '10.0.0.7', '192.168.0.7'],
      home: HOME,
    });
  });

  it('is what the only device sends by, where it is not known which is ours', () => {
    const one = device('flannel.1', '10.0.0.1');
    expect(pastOf({}, [FAKE_UNDERLAY, one])).toEqual({ addresses: ['10.0.0.1'], home: HOME });
    expect(pastOf({}, [FAKE_UNDERLAY, one, device('flannel.2', '10.0.0.2')])).toEqual({ addresses: [] });
    expect(pastOf({}, [FAKE_UNDERLAY, device('vxlan0', '10.0.0.1')])).toEqual({ addresses: [] });
    expect(pastOf({}, [FAKE_UNDERLAY, { ...one, vtep: undefined }])).toEqual({ addresses: [] });
  });

  it('has the saved interface for its home where that of the device is gone', () => {
    expect(pastOf({ saved: SAVED }, [device('flannel.1', '10.0.0.1', 77)])).toMatchObject({
      home: SAVED_HOME,
    });
  });

  it('keeps the home that we have found, what is in use, and our subnets', () => {
    const home = { name: 'eth9', mac: undefined };
    const current = { name: 'eth9', index: 7, address: ipAddress('10.0.0.9') };
    const subnets = [subnet('10.5.7.0/24')];
    const interfaces = [FAKE_UNDERLAY, device('flannel.1', '10.0.0.1')];
    expect(pastOf({ home, current, subnets, saved: SAVED }, interfaces)).toMatchObject({
      home,
      current,
      subnets,
    });
  });
});

import { ipAddress, subnet } from '../../src/model/address';
import { macAddress } from '../../src/model/mac';
import { parseMemory, printMemoryInSteps, type Memory } from '../../src/model/memory-codec';
import { parseSavedLease, printSavedHost, type SavedHost } from '../../src/model/saved-host';
import { complete } from '../../src/model/steps';
import { exampleLease, examplePeer } from '../support/examples';

const PLACE = '/coreos.com/network/config';
const HOST: SavedHost = {
  machineId: '0123456789abcdef0123456789abcdef',
  link: 'flannel.1',
  interface: 'eth0',
  hardwareAddress: macAddress('02:ee:00:00:00:01'),
  address: ipAddress('10.0.0.7'),
};
const OWN = { publicIp: ipAddress('203.0.113.7'), vtepMac: macAddress('02:00:00:00:00:77') };
const memory = (changes: Partial<Memory> = {}): Memory => ({
  place: PLACE,
  config: '{"Network": "10.5.0.0/16", "odd": ",\\"leases\\":["}',
  ownLease: '10.5.7.0-24',
  expiresAt: 1_000,
  leases: [exampleLease(2), exampleLease(7)],
  host: printSavedHost(HOST, OWN),
  ...changes,
});
const print = (changes: Partial<Memory> = {}) => complete(printMemoryInSteps(memory(changes)));

describe('the host of a state file', () => {
  it('is read back as it was written', () => {
    expect(parseSavedLease(print(), PLACE)).toEqual({ subnet: subnet('10.5.7.0/24'), ...OWN, host: HOST });
  });

  it('needs no machine ID and no hardware address', () => {
    const bare = { ...HOST, machineId: undefined, hardwareAddress: undefined };
    const host = printSavedHost(bare, { publicIp: undefined, vtepMac: undefined });
    expect(parseSavedLease(print({ host }), PLACE)).toEqual({
      ...{ subnet: subnet('10.5.7.0/24'), publicIp: undefined, vtepMac: undefined },
      host: bare,
    });
  });

  it('is read without the leases', () => {
    const text = print();
    const head = text.slice(0, text.indexOf('"leases":['));
    expect(parseSavedLease(`${head}"leases":[all kinds of`, PLACE)).toMatchObject({ host: HOST });
  });

  it('keeps no earlier version from reading the rest', () => {
    expect(parseMemory(print())).toMatchObject({ ownLease: '10.5.7.0-24', leases: [{}, {}] });
    expect((JSON.parse(print()) as { version: unknown }).version).toBe(1);
  });

  it.each([
    ['a file of v0.1.0', undefined],
    ['a host without an interface', { ...printSavedHost(HOST, OWN), interface: 7 }],
    ['a host without a link', { ...printSavedHost(HOST, OWN), link: undefined }],
    ['a host without an address', { ...printSavedHost(HOST, OWN), address: 'nowhere' }],
    ['a host that is none', ['eth0']],
  ])('is unknown in %s, and the lease is told by itself', (_, host) => {
    const { publicIp, vtepMac } = examplePeer(7);
    expect(parseSavedLease(print({ host }), PLACE)).toEqual({
      ...{ subnet: subnet('10.5.7.0/24'), publicIp, vtepMac },
      host: undefined,
    });
  });

  it('and its lease are told by the name alone where the lease is not in the file', () => {
    expect(parseSavedLease(print({ host: undefined, leases: [exampleLease(2)] }), PLACE)).toEqual({
      ...{ subnet: subnet('10.5.7.0/24'), publicIp: undefined, vtepMac: undefined },
      host: undefined,
    });
  });

  it.each([
    ['no JSON', '{'],
    ['no object', '7'],
    ['null', 'null'],
    ['an empty file', ''],
    ['no name of a lease', '{"place":"/coreos.com/network/config","leases":[]}'],
    ['a name that is none', '{"ownLease":"garbage","leases":[]}'],
    ['a cut head', '{"ownLease":"10.5.7.0-24","ho,"leases":[]}'],
  ])('is not told by %s', (_, text) => {
    expect(parseSavedLease(text, PLACE)).toBeUndefined();
  });

  it('is of no use in another network, and of this one where the file does not say', () => {
    expect(parseSavedLease(print(), '/other/config')).toBeUndefined();
    expect(parseSavedLease(print().replace(`"place":"${PLACE}",`, ''), PLACE)).toMatchObject({ host: HOST });
  });

  it.each(['publicIp', 'vtepMac', 'machineId', 'hardwareAddress'])(
    'has no %s where that makes no sense',
    (field) => {
      const host = { ...printSavedHost(HOST, OWN), [field]: 'x'.repeat(3) };
      const saved = parseSavedLease(
        print({ host: field === 'machineId' ? { ...host, machineId: 7 } : host }),
        PLACE,
      )!;
      expect({ ...saved, ...saved.host }[field as 'publicIp']).toBeUndefined();
    },
  );
});

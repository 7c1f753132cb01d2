/** Which leases are gone, found by name and by host. */
import { Departures, type Departure } from '../../src/engine/departures';
import { ipAddress } from '../../src/model/address';
import { exampleLease } from '../support/examples';

const HOST = ipAddress('192.168.0.2');

/** The departure of lease n of host 2. */
function departure(n: number, publicIp = HOST, since = n): Departure {
  const lease = exampleLease(n);
  return { lease: { ...lease, attributes: { ...lease.attributes, publicIp } }, since, how: undefined };
}

it('one is found by its name and by its host until it is deleted, and others of that host stay', () => {
  const departures = new Departures();
  const [first, second, other] = [departure(2), departure(3), departure(4, ipAddress('192.168.0.4'))];
  for (const each of [first, second, other]) departures.add(each);
  expect([...departures]).toEqual([first, second, other]);
  expect(departures.ofHost(HOST)).toEqual([first, second]);
  expect(departures.delete('10.5.2.0-24')).toBe(true);
  expect(departures.get('10.5.2.0-24')).toBeUndefined();
  expect(departures.ofHost(HOST)).toEqual([second]);
  expect(departures.delete('10.5.3.0-24')).toBe(true);
  expect(departures.ofHost(HOST)).toHaveLength(0);
  expect([...departures]).toEqual([other]);
});

it('to delete one that is not there changes nothing, and says so', () => {
  const departures = new Departures();
  departures.add(departure(2));
  expect(departures.delete('10.5.9.0-24')).toBe(false);
  expect([...departures]).toHaveLength(1);
});

it('a lease that goes once more takes its own place, also at another host', () => {
  const departures = new Departures();
  departures.add(departure(2));
  const again = departure(2, ipAddress('192.168.0.9'), 77);
  departures.add(again);
  expect([...departures]).toEqual([again]);
  expect(departures.get('10.5.2.0-24')).toBe(again);
  expect(departures.ofHost(HOST)).toHaveLength(0);
  expect(departures.ofHost(ipAddress('192.168.0.9'))).toEqual([again]);
});

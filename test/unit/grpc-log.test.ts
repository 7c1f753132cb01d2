import { getLogger } from '@grpc/grpc-js/build/src/logging';
import { hearGrpc } from '../../src/etcd/grpc-log';
import { Pings } from '../../src/etcd/pings';

test('what grpc prints is told, and nothing once nobody listens', () => {
  const said: string[] = [];
  const refused: string[] = [];
  const end = hearGrpc({ said: (text) => said.push(text), refusedPings: (address) => refused.push(address) });
  getLogger().error!('something', { odd: 1 });
  getLogger().error!(
    'Connection to dns:etcd.example:2379 at 10.0.0.1:2379 rejected by server because of excess pings. Increasing ping interval to 20000 ms',
  );
  expect(said).toEqual(['something [object Object]']);
  expect(refused).toEqual(['10.0.0.1:2379']);
  end();
  getLogger().error!('more');
  expect(said).toHaveLength(1);
});

test('a server that refused pings gets one in five minutes', () => {
  const pings = new Pings();
  expect(pings.milliseconds).toBe(10_000);
  pings.beRare();
  expect(pings.milliseconds).toBeGreaterThan(300_000);
});

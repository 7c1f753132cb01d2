/** The follower knows nothing of leases: here it follows services, a name with a number. The peer watcher's tests are about leases. */
import { Follower, type PrefixCodec } from '../../src/engine/follower';
import { LEASE_PREFIX_CODEC } from '../../src/engine/lease-prefix-codec';
import { RegistryError } from '../../src/model/errors';
import { exampleLease } from '../support/examples';
import { FakeClock } from '../support/fake-clock';
import { FakeLog } from '../support/fake-log';

interface Change {
  readonly name: string;
  /** Undefined: removed. */
  readonly port: number | undefined;
}
interface Snapshot {
  readonly ports: Readonly<Record<string, number>>;
}

const CODEC: PrefixCodec<Snapshot, Change> = {
  noun: 'services',
  failure: 'cannot read services from etcd',
  changesOf: ({ ports }) => Object.entries(ports).map(([name, port]) => ({ name, port })),
  nameOf: ({ name }) => name,
  removalOf: (name) => ({ name, port: undefined }),
};

const print = ({ name, port }: Change) => (port === undefined ? `-${name}` : `${name}=${port}`);

/** Services in a store of one prefix, and a follower of it. */
function following(expected?: string) {
  const clock = new FakeClock();
  const log = new FakeLog();
  const ports: Record<string, number> = {};
  const known = new Map<string, number | undefined>();
  const told: string[] = [];
  const calls: string[] = [];
  let revision = 1;
  let isDown = false;
  let tell: ((change: Change) => void) | undefined;
  let cut: ((error: RegistryError) => void) | undefined;
  const source = {
    list: () => {
      calls.push('list');
      if (isDown) return Promise.reject(new RegistryError('unavailable', 'nobody answers'));
      return Promise.resolve({ ports: { ...ports }, revision: String(revision) });
    },
    count: () => Promise.resolve(Object.keys(ports).length),
    async *watch(after: string, signal: AbortSignal) {
      calls.push(`watch ${after}`);
      for (;;) {
        const change = await new Promise<Change>((resolve, reject) => {
          [tell, cut] = [resolve, reject];
          signal.addEventListener('abort', () => reject(new RegistryError('unavailable', 'aborted')));
        });
        yield { revision: String(revision), changes: [change] };
      }
    },
  };
  const receiver = {
    knownNames: () => new Set(known.keys()),
    expectedName: () => expected,
    readers: () => 1,
    take: (changes: readonly Change[]) => {
      told.push(changes.map(print).join(' '));
      for (const { name, port } of changes)
        if (port === undefined) known.delete(name);
        else known.set(name, port);
      return Promise.resolve();
    },
    inSync: () => void told.push('in sync'),
  };
  const stop = new AbortController();
  return {
    ...{ clock, log, ports, told, calls },
    follower: new Follower(source, CODEC, receiver, clock, log),
    signal: stop.signal,
    stop: () => stop.abort(),
    setDown: (value: boolean) => (isDown = value),
    put: (name: string, port: number) => {
      revision++;
      ports[name] = port;
      tell?.({ name, port });
    },
    /** The watch does not tell of it. */
    change: (name: string, port: number | undefined) => {
      revision++;
      if (port === undefined) delete ports[name];
      else ports[name] = port;
    },
    cut: () => cut?.(new RegistryError('unavailable', 'the connection was lost')),
  };
}

it('tells a snapshot as changes, then that it is in sync, then what the watch tells from there on', async () => {
  const { follower, clock, told, calls, put, change, signal, stop } = following();
  change('dns', 53);
  await follower.sync(signal);
  expect(follower.hasSnapshot).toBe(true);
  const end = follower.run(signal);
  await clock.advance(0);
  put('web', 80);
  await clock.advance(0);
  expect(told).toEqual(['dns=53', 'in sync', 'web=80']);
  expect(calls).toEqual(['list', 'watch 2']);
  stop();
  await end;
});

it('tells after a lost watch what is gone, then all that is there', async () => {
  const { follower, clock, told, change, cut, signal, stop } = following();
  change('dns', 53);
  change('web', 80);
  await follower.sync(signal);
  const end = follower.run(signal);
  await clock.advance(0);
  change('web', undefined);
  change('dns', 5353);
  cut();
  await clock.advance(1_000);
  expect(told).toEqual(['dns=53 web=80', 'in sync', '-web dns=5353']);
  stop();
  await end;
});

it('tells that an expected key is not there, though the receiver never had it', async () => {
  const { follower, told, signal } = following('ours');
  await follower.sync(signal);
  expect(told).toEqual(['-ours', 'in sync']);
});

it('tells nothing while etcd does not answer, and says so in the words of its codec', async () => {
  const { follower, clock, log, told, setDown, change, signal } = following();
  setDown(true);
  change('dns', 53);
  const synced = follower.sync(signal);
  await clock.advance(5_000);
  expect(told).toEqual([]);
  expect(follower.hasSnapshot).toBe(false);
  expect(log.messages('warn')).toEqual(['cannot read services from etcd']);
  setDown(false);
  await clock.advance(10_000);
  await synced;
  expect(told).toEqual(['dns=53', 'in sync']);
  expect(log.messages('info')).toEqual(['etcd answers again']);
});

it('gives up a watch that does not tell of all keys, and names what they are', async () => {
  const { follower, clock, log, told, change, signal, stop } = following();
  await follower.sync(signal);
  const end = follower.run(signal);
  await clock.advance(0);
  change('dns', 53);
  await clock.advance(130_000);
  expect(told.at(-1)).toBe('dns=53');
  expect(log.lines.map(({ fields }) => String(fields['error']))).toContainEqual(
    expect.stringContaining('the watch is behind: etcd has 1 services, and it told of 0'),
  );
  stop();
  await end;
});

describe('the codec of leases', () => {
  const lease = exampleLease(2);
  const malformed = { name: '10.5.3.0-24', reason: 'x', etcdLeaseId: undefined, modRevision: '1' };
  const changes = LEASE_PREFIX_CODEC.changesOf({ revision: '1', leases: [lease], malformed: [malformed] });

  it('makes one change of each key, readable or not', () => {
    expect(changes).toEqual([
      { kind: 'put', lease },
      { kind: 'malformed', malformed },
    ]);
  });

  it('knows the name of each change', () => {
    const removed = LEASE_PREFIX_CODEC.removalOf('10.5.4.0-24');
    expect([...changes, removed].map((change) => LEASE_PREFIX_CODEC.nameOf(change))).toEqual([
      '10.5.2.0-24',
      '10.5.3.0-24',
      '10.5.4.0-24',
    ]);
  });
});

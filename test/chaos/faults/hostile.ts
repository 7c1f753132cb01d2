/** Who may write to etcd, or stands in for it, does its worst. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PREFIX } from '../../support/lab/lab';
import type { Namespace } from '../../support/lab/namespace';
import { until } from '../../support/lab/until';
import type { Fault } from '../fault';
import { leaseValue, type Scene } from '../scene';
import { gateway } from './etcd';

const STRANGER = { publicIp: '172.30.77.7', vtepMac: '0e:00:00:00:77:07' };
/** As many as an argument of a command may be long. */
const LONG = 120_000;
const MANY = 2_000;
/** What one fault may cost in lines of the log, whatever it writes. */
const MOST_LINES = 200;
const SILENT_PORTS = Array.from({ length: 9 }, (_, n) => 24_001 + n);

/** Runs a program of Node in there until the fault ends; resolves when it has printed a line. */
export async function serve(scene: Scene, namespace: Namespace, words: readonly string[]): Promise<void> {
  const child = namespace.start(process.execPath, words, { stdio: ['pipe', 'pipe', 'inherit'] });
  // It ends with its input.
  scene.atEnd(() => child.stdin!.end());
  await new Promise((resolve, reject) => {
    child.stdout!.once('data', resolve);
    child.once('exit', (code) => reject(new Error(`node ${words[0]} ended with ${code}`)));
  });
}

/** A lease's name that begins with a byte that is no UTF-8, as etcd's JSON wants it. */
function rawKey(byte: number): string {
  const parts = [Buffer.from(`${PREFIX}/subnets/`), Buffer.from([byte]), Buffer.from('.0-24')];
  return Buffer.concat(parts).toString('base64');
}

const RAW_KEYS = [rawKey(0xfe), rawKey(0xff)];

function macOf(n: number): string {
  return `0e:00:00:01:${(n >> 8).toString(16).padStart(2, '0')}:${(n & 255).toString(16).padStart(2, '0')}`;
}

/** Everything that one could write below the prefix to do harm, and its end. */
async function writeTheWorst(scene: Scene): Promise<void> {
  const { etcd } = scene.lab;
  const key = (name: string) => `${PREFIX}/subnets/${name}`;
  const [free, other] = [scene.freeSubnet(0), scene.freeSubnet(1)];
  await etcd.etcdctl('put', key('1'.repeat(LONG)), 'x');
  await etcd.etcdctl('put', key(`${'1'.repeat(LONG)}.5.7.0-24`), leaseValue(STRANGER));
  const nested = `{"BackendData":${'['.repeat(LONG / 2)}${']'.repeat(LONG / 2)}}`;
  await etcd.etcdctl('put', key(`${free}-24`), nested);
  const value = Buffer.from(leaseValue(STRANGER)).toString('base64');
  for (const raw of RAW_KEYS) await gateway(scene, 'kv/put', { key: raw, value });
  for (const leases of [
    (n: number) => [
      key(`hostile-${n}-${free}-24`),
      leaseValue({ ...STRANGER, publicIp: `172.29.${n >> 8}.${n & 255}` }),
    ],
    (n: number) => [
      key(`hostile-${n}-10.5.128.0-${17 + (n % 13)}`),
      leaseValue({ ...STRANGER, vtepMac: macOf(n) }),
    ],
  ])
    await etcd.putAll(Array.from({ length: MANY }, (_, n) => leases(n) as [string, string]));
  // One that changes all the time.
  for (let n = 0; n < 100; n++)
    await etcd.put(key(`${other}-24`), leaseValue({ publicIp: '172.30.77.8', vtepMac: macOf(n) }));
}

export const HOSTILE_FAULTS: readonly Fault[] = [
  {
    name: 'hostile-keys',
    group: 'leases',
    short: true,
    throughLoss: 'none',
    withinMilliseconds: 60_000,
    what: 'puts names of 120 000 digits, values nested 60 000 deep, names that are no UTF-8, 4000 leases that contradict each other, and a peer that changes all the time; then deletes all of it at once',
    provoke: async (scene) => {
      const { lab, victim } = scene;
      const [free, other] = [`${scene.freeSubnet(0)}-24`, `${scene.freeSubnet(1)}-24`];
      const clear = async () => {
        for (const name of ['11111', 'hostile-', free, other])
          await lab.etcd.etcdctl('del', '--prefix', '--', `${PREFIX}/subnets/${name}`);
        for (const key of RAW_KEYS) await gateway(scene, 'kv/deleterange', { key });
      };
      scene.atEnd(clear);
      await writeTheWorst(scene);
      await scene.followsEtcd();
      await scene.reachesPeer();
      const start = performance.now();
      await clear();
      await scene.followsEtcd();
      await scene.settle();
      const milliseconds = performance.now() - start;
      const lines = scene.log().length;
      if (lines > MOST_LINES) throw new Error(`host 1 logged ${lines} lines`);
      await until('the state file is written without any of it', () => {
        const state = readFileSync(join(victim.agent.subnetFile, '..', 'state.json'), 'utf8');
        return state.length < 20_000 && lab.hosts.every(({ publicIp }) => state.includes(publicIp));
      });
      return milliseconds;
    },
  },
  {
    name: 'silent-endpoints',
    group: 'etcd',
    short: true,
    throughLoss: 'none',
    withinMilliseconds: 30_000,
    what: 'starts the agent without a memory with nine endpoints that accept connections and say nothing before the live one',
    provoke: async (scene) => {
      const { lab, victim } = scene;
      const listen = `for (const port of ${JSON.stringify(SILENT_PORTS)})
        require('node:net').createServer((s) => s.on('error', () => {})).listen(port, '127.0.0.1');
        process.stdin.resume().on('end', () => process.exit(0)); console.log('silent');`;
      await serve(scene, victim.namespace, ['-e', listen]);
      const silent = SILENT_PORTS.map((port) => `http://127.0.0.1:${port}`);
      await scene.restartWith(
        `--etcd-endpoints=${[...silent, lab.etcd.endpoints].join(',')}`,
        '--state-file=',
      );
      const milliseconds = performance.now() - victim.agent.startedAt;
      for (const url of silent) await scene.warned(url);
      await scene.followsEtcd();
      return milliseconds;
    },
  },
  {
    name: 'watch-ends-at-once',
    group: 'etcd',
    short: true,
    throughLoss: 'none',
    withinMilliseconds: 120_000,
    what: 'lets host 1 reach etcd only by a server that ends each watch as soon as it has begun: host 1 tries ever more rarely, and follows etcd by reading',
    provoke: async (scene) => {
      const { lab, victim } = scene;
      const program = join(__dirname, '..', 'watch-ender.ts');
      await serve(scene, victim.namespace, ['--import', 'tsx', program, '2379', lab.etcd.endpoints]);
      await scene.restartWith('--etcd-endpoints=http://127.0.0.1:2379', '--state-file=');
      await scene.lasts(10_000);
      const lines = scene.log().length;
      if (lines > MOST_LINES) throw new Error(`host 1 logged ${lines} lines`);
      return scene.took('host 1 follows etcd', () => scene.followsEtcd().then(() => true), {
        withinMilliseconds: 180_000,
      });
    },
  },
];

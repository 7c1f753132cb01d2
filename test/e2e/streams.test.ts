/** The counted streams themselves: they must not call good what they have not seen. */
import { readFileSync } from 'node:fs';
import { run } from '../support/lab/command';
import type { Host } from '../support/lab/host';
import { Lab } from '../support/lab/lab';
import { Stream, now, streaming, withoutLoss, type Station } from '../support/lab/stream';
import { until } from '../support/lab/until';

let lab: Lab;
let from: Host;
let to: Host;
let path: readonly [Station, Station];

beforeAll(async () => {
  lab = await Lab.start({ hosts: 2, etcdMembers: 0 });
  [from, to] = lab.hosts as [Host, Host];
  path = [station(from), station(to)];
});

afterAll(() => lab?.end());

/** The hosts themselves, without any overlay. */
function station({ namespace, publicIp, name }: Host): Station {
  return { container: namespace, containerAddress: publicIp, name };
}

/** Stops what runs in a host, which is one end of the stream; returns what lets it go on. */
async function stopped({ namespace }: Host): Promise<() => void> {
  const [pid, ...others] = (await run('ip', ['netns', 'pids', namespace.name]))
    .trim()
    .split('\n')
    .map(Number);
  expect(others).toEqual([]);
  process.kill(pid!, 'SIGSTOP');
  await until('it is stopped', () => /^State:\tT/m.test(readFileSync(`/proc/${pid}/status`, 'utf8')));
  return () => process.kill(pid!, 'SIGCONT');
}

const LOSSY = `
  table ip lossy {
    chain input {
      type filter hook input priority 0;
      udp dport 7007 drop
    }
  }
`;

test('a packet that is lost is counted, and named', async () => {
  const lossy = withoutLoss([path], async (traffic) => {
    await traffic.sends(10);
    await to.namespace.run('nft', ['-f', '-'], { input: LOSSY });
    await traffic.sends(10);
    await to.namespace.run('nft', ['flush', 'ruleset']);
  });
  await expect(lossy).rejects.toThrow(
    /^host 1 → host 2: \d+ of \d+ packets were lost \(missing: \d+ from number \d+ on\)/,
  );
});

test('packets are sent for a while after the disturbance, however short that was', async () => {
  const [report] = await streaming([path], () => Promise.resolve());
  expect(report).toMatchObject({ lost: 0, failed: 0, gaps: [] });
  expect(report!.sent).toBeGreaterThanOrEqual(200);
});

test('what a sender that stood still did not send in time it does not send later', async () => {
  const stream = await Stream.start(...path);
  const goOn = await stopped(from);
  const begin = now();
  await to.namespace.ip('link', 'show');
  const disturbance = { from: begin, to: now() };
  goOn();
  await stream.sends();
  const report = await stream.end(disturbance);
  expect(report).toMatchObject({ lost: 0, sentMeanwhile: 0 });
  expect(report.longestPauseMilliseconds).toBe(Number(disturbance.to - disturbance.from) / 1e6);
});

test('packets that wait for a receiver that stands still are not lost', async () => {
  const [report] = await streaming([path], async (traffic) => {
    const goOn = await stopped(to);
    await traffic.sends();
    goOn();
  });
  expect(report).toMatchObject({ lost: 0, droppedByReceiver: 0 });
});

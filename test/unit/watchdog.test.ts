import type { ServiceState } from '../../src/host/systemd';
import { beatWatchdog, watchdogMilliseconds } from '../../src/host/watchdog';
import { FakeClock, settle } from '../support/fake-clock';

/** A beat, which also puts off the end of a start by a whole period. */
const BEAT: ServiceState = { alive: true, patienceMilliseconds: 20_000 };

test('the watchdog has a beat at once, and then two in each of its periods', async () => {
  const { clock, told, end } = await start();
  await clock.advance(9_999);
  expect(told).toEqual([BEAT]);
  await clock.advance(1);
  expect(told).toEqual([BEAT, BEAT]);
  await clock.advance(10_000);
  expect(told).toEqual([BEAT, BEAT, BEAT]);
  await end();
});

test('there is no beat while something is stuck, which is said once, and there are beats again afterwards', async () => {
  const { clock, told, situation, said, end } = await start();
  situation.stuck = 'a pass has lasted for 90 s';
  await clock.advance(30_000);
  expect(told).toEqual([BEAT]);
  situation.stuck = undefined;
  await clock.advance(10_000);
  expect(told).toEqual([BEAT, BEAT]);
  expect(said).toEqual(['a pass has lasted for 90 s']);
  await end();
});

test('an abort ends the beats', async () => {
  const { clock, told, end } = await start();
  await end();
  await clock.advance(60_000);
  expect(told).toEqual([BEAT]);
  expect(clock.nextWake).toBeUndefined();
});

test('there are no beats where nobody waits for them', async () => {
  const { told, beating } = await start({});
  await beating;
  expect(told).toEqual([]);
});

test.each([
  [{}, undefined],
  [{ WATCHDOG_USEC: '20000000' }, 20_000],
  [{ WATCHDOG_USEC: '20000000', WATCHDOG_PID: '7' }, 20_000],
  // The parent's: we inherited its environment.
  [{ WATCHDOG_USEC: '20000000', WATCHDOG_PID: '8' }, undefined],
  [{ WATCHDOG_USEC: '0' }, undefined],
  [{ WATCHDOG_USEC: 'soon' }, undefined],
])('in the environment %j the watchdog has a period of %s ms', (env, period) => {
  expect(watchdogMilliseconds(env, 7)).toBe(period);
});

async function start(env: NodeJS.ProcessEnv = { WATCHDOG_USEC: '20000000', WATCHDOG_PID: '7' }) {
  const clock = new FakeClock();
  const told: ServiceState[] = [];
  const said: string[] = [];
  const situation: { stuck: string | undefined } = { stuck: undefined };
  const controller = new AbortController();
  const beating = beatWatchdog(
    {
      env,
      pid: 7,
      clock,
      notify: (state) => void told.push(state),
      stuck: () => situation.stuck,
      silent: (reason) => void said.push(reason),
    },
    controller.signal,
  );
  await settle();
  const end = () => {
    controller.abort();
    return beating;
  };
  return { clock, told, said, situation, beating, end };
}

import { Announcer } from '../../src/engine/announcer';
import { HostError } from '../../src/model/errors';
import type { Host } from '../../src/ports';
import { FakeClock } from '../support/fake-clock';
import { FakeLog } from '../support/fake-log';

/** A host whose disk can be full; only what the announcer uses. */
class Disk implements Pick<Host, 'readSubnetFile' | 'writeSubnetFile' | 'watchSubnetFile' | 'notify'> {
  text: string | undefined;
  writes = 0;
  isFull = false;
  notices: object[] = [];
  /** When it was to be written, since the clock began. */
  tries: number[] = [];
  now: () => number = () => 0;
  /** How many watch. */
  watchers = 0;
  readSubnetFile = () => Promise.resolve(this.text);
  writeSubnetFile = (text: string) => {
    this.tries.push(this.now());
    if (this.isFull) return Promise.reject(new HostError('ENOSPC', 'no space left'));
    this.writes++;
    this.text = text;
    return Promise.resolve();
  };
  onChange: () => void = () => undefined;
  watchSubnetFile = (onChange: () => void, signal: AbortSignal) => {
    this.onChange = onChange;
    this.watchers++;
    signal.addEventListener('abort', () => this.watchers--);
  };
  notify = (state: object) => void this.notices.push(state);
}

function running(disk: Disk) {
  const clock = new FakeClock();
  clock.random = () => 1;
  const start = clock.now();
  disk.now = () => clock.now() - start;
  const log = new FakeLog();
  const announcer = new Announcer(disk as unknown as Host, clock, log);
  const stop = new AbortController();
  const end = announcer.run(stop.signal);
  return { clock, log, announcer, stop: () => (stop.abort(), end) };
}

describe('the announcer', () => {
  it('writes subnet.env, and then says READY', async () => {
    const disk = new Disk();
    const { announcer, clock, stop } = running(disk);
    announcer.announce('A=1\n');
    expect(announcer.isAnnounced).toBe(false);
    await clock.advance(0);
    expect(disk).toMatchObject({ text: 'A=1\n', notices: [{ ready: true }] });
    expect(announcer.isAnnounced).toBe(true);
    await stop();
  });

  it('tells when it has tried to write, well or not', async () => {
    const disk = new Disk();
    disk.isFull = true;
    const { announcer, clock, stop } = running(disk);
    const attempts: string[] = [];
    const note = (what: string) => announcer.attempted.then(() => attempts.push(what));
    void note('nothing was announced');
    announcer.announce('A=1\n');
    void note('the disk is full');
    expect(attempts).toEqual([]);
    await clock.advance(0);
    expect(attempts).toEqual(['nothing was announced', 'the disk is full']);
    await stop();
  });

  it('writes nothing when the file says so already, and says READY', async () => {
    const disk = new Disk();
    disk.text = 'A=1\n';
    const { announcer, clock, stop } = running(disk);
    announcer.announce('A=1\n');
    announcer.announce('A=1\n');
    await clock.advance(0);
    expect(disk).toMatchObject({ writes: 0, notices: [{ ready: true }] });
    await stop();
  });

  it('tries on while the disk is full, says so once, and does not say READY before', async () => {
    const disk = new Disk();
    disk.isFull = true;
    const { announcer, clock, log, stop } = running(disk);
    announcer.announce('A=1\n');
    await clock.advance(30_000);
    expect(disk.notices).toEqual([]);
    expect(log.messages('warn')).toEqual(['cannot write the subnet file; trying again']);
    disk.isFull = false;
    await clock.advance(30_000);
    expect(disk).toMatchObject({ text: 'A=1\n', notices: [{ ready: true }] });
    expect(log.messages('info')).toContain('subnet file written after all');
    await stop();
  });

  it('writes subnet.env again at once when somebody removed it, and says READY only once', async () => {
    const disk = new Disk();
    const { announcer, clock, log, stop } = running(disk);
    announcer.announce('A=1\n');
    await clock.advance(0);
    disk.text = undefined;
    disk.onChange();
    await clock.advance(0);
    expect(disk).toMatchObject({ text: 'A=1\n', writes: 2, notices: [{ ready: true }] });
    expect(log.messages('warn')).toEqual([
      'another program changed or removed the subnet file; writing it again',
    ]);
    await stop();
  });

  it('says once that another program changed it, though it cannot be written again for a while', async () => {
    const disk = new Disk();
    const { announcer, clock, log, stop } = running(disk);
    announcer.announce('A=1\n');
    await clock.advance(0);
    expect(announcer.fight).toBeUndefined();
    disk.isFull = true;
    disk.text = undefined;
    disk.onChange();
    await clock.advance(3_600_000);
    expect(log.messages('warn').filter((message) => message.includes('another program'))).toHaveLength(1);
    disk.isFull = false;
    await clock.advance(30_000);
    expect(disk.text).toBe('A=1\n');
    expect(announcer.trouble).toBeUndefined();
    await stop();
  });

  it('finds within a minute what nobody told', async () => {
    const disk = new Disk();
    const { announcer, clock, stop } = running(disk);
    announcer.announce('A=1\n');
    await clock.advance(0);
    disk.text = 'B=2\n';
    await clock.advance(61_000);
    // The lines of others stay.
    expect(disk.text).toBe('B=2\nA=1\n');
    await stop();
  });

  it('gives another program that writes the same file ever more time', async () => {
    const disk = new Disk();
    const { announcer, clock, stop } = running(disk);
    announcer.announce('A=1\n');
    for (let elapsed = 0; elapsed < 120_000; elapsed += 100) {
      await clock.advance(100);
      if (disk.text === 'B=2\n') continue;
      disk.text = 'B=2\n';
      disk.onChange();
    }
    expect(disk.writes).toBeLessThan(20);
    await stop();
  });

  it('writes again when our subnet changed, READY only once', async () => {
    const disk = new Disk();
    const { announcer, clock, stop } = running(disk);
    announcer.announce('A=1\n');
    await clock.advance(0);
    announcer.announce('A=2\n');
    await clock.advance(0);
    expect(disk).toMatchObject({ text: 'A=2\n', writes: 2, notices: [{ ready: true }] });
    await stop();
  });

  it('waits ever longer between two tries, up to half a minute, and says how long it lasts', async () => {
    const disk = new Disk();
    disk.isFull = true;
    const { announcer, clock, stop } = running(disk);
    announcer.announce('A=1\n');
    await clock.advance(80_000);
    expect(disk.tries).toEqual([0, 500, 1_500, 3_500, 7_500, 15_500, 31_500, 61_500]);
    expect(announcer.trouble).toEqual({
      complaint: 'cannot write the subnet file; trying again: no space left',
      forMilliseconds: 80_000,
    });
    expect(announcer.isAnnounced).toBe(false);
    disk.isFull = false;
    await clock.advance(11_500);
    expect(disk.text).toBe('A=1\n');
    expect(announcer.trouble).toBeUndefined();
    // Well again, it is looked at once a minute as before.
    disk.text = undefined;
    await clock.advance(59_999);
    expect(disk.text).toBeUndefined();
    await clock.advance(1);
    expect(disk.text).toBe('A=1\n');
    await stop();
  });

  it('has written nothing, watches nothing and is not announced before it is known what to write', async () => {
    const disk = new Disk();
    const { announcer, clock, stop } = running(disk);
    await clock.advance(600_000);
    expect([disk.tries, disk.notices, disk.watchers]).toEqual([[], [], 0]);
    expect([announcer.isAnnounced, announcer.trouble]).toEqual([false, undefined]);
    await stop();
  });

  it('has tried when it knows already what it is told once more', async () => {
    const disk = new Disk();
    const { announcer, clock, stop } = running(disk);
    announcer.announce('A=1\n');
    await clock.advance(0);
    announcer.announce('A=1\n');
    let hasTried = false;
    void announcer.attempted.then(() => (hasTried = true));
    await Promise.resolve();
    await Promise.resolve();
    expect(hasTried).toBe(true);
    await stop();
  });

  it.each([
    ['there is none', undefined, 'subnet file written'],
    ['it says so already', 'A=1\n', 'subnet file is as it should be'],
  ])('says once what it did where %s, and watches the file from then on', async (_, text, said) => {
    const disk = new Disk();
    disk.text = text;
    const { announcer, clock, log, stop } = running(disk);
    announcer.announce('A=1\n');
    await clock.advance(600_000);
    expect(log.messages('info', 'warn')).toEqual([said]);
    expect(disk.watchers).toBe(1);
    await stop();
    expect(disk.watchers).toBe(0);
  });

  it('watches anew what it had to write again: its directory may be another one', async () => {
    const disk = new Disk();
    const { announcer, clock, stop } = running(disk);
    announcer.announce('A=1\n');
    await clock.advance(0);
    const { onChange } = disk;
    disk.text = undefined;
    onChange();
    await clock.advance(0);
    expect(disk.onChange).not.toBe(onChange);
    expect(disk.watchers).toBe(1);
    const again = disk.onChange;
    await clock.advance(120_000);
    expect(disk.onChange).toBe(again);
    await stop();
  });

  it('counts how often another program changed it, and rests longer each time from the sixth on', async () => {
    const disk = new Disk();
    const { announcer, clock, log, stop } = running(disk);
    announcer.announce('A=1\n');
    await clock.advance(0);
    disk.tries.length = 0;
    for (let n = 0; n < 9; n++) {
      disk.text = undefined;
      disk.onChange();
      await clock.advance(0);
      while (disk.text === undefined) await clock.advance(clock.nextWake! - clock.now());
    }
    expect(disk.tries).toEqual([0, 0, 0, 0, 0, 0, 500, 1_500, 3_500]);
    const warnings = log.lines.filter(({ level }) => level === 'warn');
    expect(warnings.map(({ fields }) => fields['times'])).toEqual([1, 2, 3, 4, 5, 6, 8]);
    expect(announcer.fight).toBe('another program changes or removes it again and again (9 times)');
    await clock.advance(60_000);
    expect(announcer.fight).toBeUndefined();
    await stop();
  });

  it('complains of nothing when the agent stops', async () => {
    const disk = new Disk();
    const { announcer, clock, log, stop } = running(disk);
    announcer.announce('A=1\n');
    await clock.advance(0);
    const lines = log.lines.length;
    await stop();
    expect(log.lines).toHaveLength(lines);
    expect(announcer.trouble).toBeUndefined();
  });
});

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
  readSubnetFile = () => Promise.resolve(this.text);
  writeSubnetFile = (text: string) => {
    if (this.isFull) return Promise.reject(new HostError('ENOSPC', 'no space left'));
    this.writes++;
    this.text = text;
    return Promise.resolve();
  };
  onChange: () => void = () => undefined;
  watchSubnetFile = (onChange: () => void) => void (this.onChange = onChange);
  notify = (state: object) => void this.notices.push(state);
}

function running(disk: Disk) {
  const clock = new FakeClock();
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
});

import { parseCommandLine } from '../../src/cli/command-line';
import { distanceOf, nearest } from '../../src/cli/nearest';
import { UsageError } from '../../src/model/errors';

const parse = (...argv: string[]) => parseCommandLine(argv, {});

describe('the command line asks', () => {
  test('to run, by default or by name', () => {
    expect(parse().kind).toBe('run');
    expect(parse('run').kind).toBe('run');
    expect(parse('--iface=eth0').kind).toBe('run');
  });

  test('to leave or to clean up, with options before or behind', () => {
    expect(parse('leave', '--iface=eth0')).toMatchObject({ kind: 'leave', options: { iface: ['eth0'] } });
    expect(parse('--iface', 'eth0', 'cleanup')).toMatchObject({
      kind: 'cleanup',
      forFlannel: false,
      options: { iface: ['eth0'] },
    });
    expect(parse('-iface', 'eth0', 'cleanup', '-for-flannel')).toMatchObject({ forFlannel: true });
  });

  test.each([
    [['config', 'set', 'net.json'], { action: 'set', file: 'net.json', raw: false }],
    [['config', 'set', '-'], { action: 'set', file: '-', raw: false }],
    [
      ['--etcd-prefix=/p', 'config', '-v=1', 'set', '--', '--net.json'],
      { action: 'set', file: '--net.json', raw: false },
    ],
    [['config', 'get'], { action: 'get', file: undefined, raw: false }],
    [['config', 'get', '--raw'], { action: 'get', file: undefined, raw: true }],
    [['config', 'check'], { action: 'check', file: undefined, raw: false }],
    [
      ['config', 'check', 'net.json', '-etcd-prefix', '/p'],
      { action: 'check', file: 'net.json', raw: false },
    ],
  ])('%j', (argv, command) => {
    expect(parse(...argv)).toMatchObject({ kind: 'config', ...command });
  });
});

describe('refused:', () => {
  test.each([
    [
      ['foo'],
      "there is no command 'foo'; there are: run, config, status, leave, cleanup, docker-opts, completion, help",
    ],
    [['run', 'leave'], "'leave' is a command of its own, and there may be one at a time"],
    [['clean-up'], "there is no command 'clean-up'; did you mean 'cleanup'?"],
    [['help', 'laeve'], "there is no command 'laeve'; did you mean 'leave'?"],
    [
      ['config'],
      'config what? there are: vtepd config set [--dry-run] FILE, vtepd config get [--raw], vtepd config check [FILE]',
    ],
    [
      ['config', 'put', 'x'],
      "'config put' is not known; there are: vtepd config set [--dry-run] FILE, vtepd config get [--raw], vtepd config check [FILE]",
    ],
    [['config', 'set'], "config set needs a FILE with the configuration, or '-' for standard input"],
    [['leave', 'now'], "too many arguments for 'leave'. Expected 0 arguments but got 1."],
    [['leave', '--raw'], "unknown option '--raw'"],
  ])('%j', (argv, complaint) => {
    expect(() => parse(...argv)).toThrow(new UsageError(complaint));
  });
});

describe('what is meant by a wrong word is', () => {
  const names = ['iface', 'iface-regex', 'etcd-endpoints', 'etcd-cafile', 'v'];

  test.each([
    ['ifcae', 'iface'],
    ['etcd-endpoint', 'etcd-endpoints'],
    ['endpoints', 'etcd-endpoints'],
    ['face', 'iface'],
    ['x', undefined],
    ['something-else', undefined],
    ['etcd', undefined],
  ])('%s: %s', (word, meant) => {
    expect(nearest(word, names)).toBe(meant);
  });

  test('the one with the fewest changes', () => {
    expect(distanceOf('', 'abc')).toBe(3);
    expect(distanceOf('abc', 'abc')).toBe(0);
    expect(distanceOf('abc', 'acb')).toBe(1);
    expect(distanceOf('kitten', 'sitting')).toBe(3);
  });
});

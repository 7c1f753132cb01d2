import { execFileSync, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseCommandLine } from '../../src/cli/command-line';
import { completionFor, SHELLS } from '../../src/cli/completion';
import { COMMAND_NAMES } from '../../src/cli/help';
import { dashed, OPTION_KEYS, OPTIONS } from '../../src/cli/options';
import { UsageError } from '../../src/model/errors';
import { removeTemporaryDirectories, temporaryDirectory } from '../support/temporary-directory';

const names = OPTION_KEYS.map((key) => OPTIONS[key].name);

test.each(SHELLS)('vtepd completion %s prints the script', (shell) => {
  expect(parseCommandLine(['completion', shell], {})).toEqual({ kind: 'print', text: completionFor(shell) });
});

test('completion for another shell is refused with those there are', () => {
  for (const argv of [['completion'], ['completion', 'tcsh']])
    expect(() => parseCommandLine(argv, {})).toThrow(
      new UsageError('completion for which shell? there are: bash, zsh, fish'),
    );
});

test.each(SHELLS)('the script for %s mentions every option and every command', (shell) => {
  const script = completionFor(shell);
  for (const name of names) {
    const written = shell !== 'fish' ? dashed(name) : name.length === 1 ? `-s ${name}` : `-l ${name}`;
    expect(script).toContain(written);
  }
  for (const name of COMMAND_NAMES.filter((each) => each !== 'run'))
    expect(script).toMatch(new RegExp(`\\b${name}\\b`));
});

test.each(SHELLS)('the script for %s mentions every flag that only one command has', (shell) => {
  for (const name of ['json', 'peers', 'for-flannel', 'raw'])
    expect(completionFor(shell)).toContain(shell === 'fish' ? `-l ${name}` : `--${name}`);
});

/** What bash offers for the last of these words; words as bash splits them, with = alone. */
function offers(...words: string[]): string[] {
  const script = `${completionFor('bash')}
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _vtepd 2> /dev/null; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const output = execFileSync('bash', ['-c', script, 'bash', 'vtepd', ...words], { encoding: 'utf8' });
  return output.split('\n').filter((line) => line !== '');
}

describe('bash offers', () => {
  test('every option', () => {
    const offered = offers('-').map((flag) => flag.replace(/=$/, ''));
    expect(offered).toEqual([...names.map(dashed), '--help', '--version']);
  });

  test('the options that begin so', () => {
    expect(offers('--iface-')).toEqual(['--iface-regex=', '--iface-can-reach=']);
    expect(offers('leave', '--ip-masq-')).toEqual(['--ip-masq-fully-random-disable']);
  });

  test('commands, and what stands behind them', () => {
    expect(offers('')).toEqual(COMMAND_NAMES.filter((name) => name !== 'run'));
    expect(offers('--iface', 'eth0', 'le')).toEqual(['leave']);
    expect(offers('--iface', '=', 'eth0', '--ip-masq', 'c')).toEqual(['config', 'cleanup', 'completion']);
    expect(offers('config', '')).toEqual(['set', 'get', 'check']);
    expect(offers('completion', '')).toEqual([...SHELLS]);
    expect(offers('docker-opts', '--')).toEqual(['--require', '--wait', '--help']);
    expect(offers('status', '')).toEqual(['--json', '--peers', '--help']);
    expect(offers('cleanup', '')).toEqual(['--for-flannel']);
    expect(offers('--iface', 'eth0', 'cleanup', '--f')).toEqual(['--for-flannel']);
    expect(offers('config', 'get', '--r')).toEqual(['--raw', '--resolve=']);
    expect(offers('config', 'get', '')).toEqual(['--raw']);
    expect(offers('leave', '--f')).toEqual([]);
  });

  test('the values that an option has', () => {
    for (const words of [
      ['--resolve', ''],
      ['--resolve', '='],
      ['leave', '--resolve', '=', ''],
    ])
      expect(offers(...words)).toEqual(['preload', 'on-demand']);
    expect(offers('--resolve', '=', 'o')).toEqual(['on-demand']);
    expect(offers('--ip-masq', '=', '')).toEqual(['true', 'false']);
    expect(offers('--iface', 'l')).toContain('lo');
    expect(offers('--etcd-cafile', '=', '/etc/host')).toContain('/etc/hosts');
    expect(offers('--healthz-port', '')).toEqual([]);
  });
});

describe.each(['zsh', 'fish'] as const)('%s', (shell) => {
  let directory: string;
  beforeAll(() => {
    directory = temporaryDirectory();
    writeFileSync(join(directory, '_vtepd'), completionFor(shell));
  });
  afterAll(removeTemporaryDirectories);

  const LINES = join(__dirname, '../support/zsh-completions.zsh');
  const FISH = `source $argv[1]; for line in $argv[2..-1]; echo "== $line"; complete -C $line; end`;

  /** What it offers for each line as a person types it, without descriptions. */
  function offersFor(...lines: string[]): Record<string, string[]> {
    const [command, args] =
      shell === 'zsh'
        ? ['zsh', ['-f', LINES, directory, ...lines]]
        : ['fish', ['--no-config', '-c', FISH, join(directory, '_vtepd'), ...lines]];
    const env = { PATH: process.env['PATH'], HOME: directory, TERM: 'dumb', LC_ALL: 'C.UTF-8' };
    const output = execFileSync(command, args, { encoding: 'utf8', env, timeout: 120_000 });
    const answers = output.split('== ').slice(1);
    expect(answers).toHaveLength(lines.length);
    return Object.fromEntries(
      answers.map((answer, n) => {
        const words = answer
          .split('\n')
          .slice(1)
          .map((each) => each.split('\t')[0]!.trim());
        return [lines[n]!, words.filter((word) => word !== '').sort()];
      }),
    );
  }

  test('takes the script', () => {
    const { status, stderr } = spawnSync(shell, ['-n', join(directory, '_vtepd')], { encoding: 'utf8' });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  });

  test('offers commands, and what stands behind them', () => {
    const expected = {
      'vtepd ': COMMAND_NAMES.filter((name) => name !== 'run').sort(),
      'vtepd le': ['leave'],
      'vtepd config ': ['check', 'get', 'set'],
      'vtepd completion ': [...SHELLS].sort(),
      'vtepd status --j': ['--json'],
      'vtepd status --pe': expect.arrayContaining(['--peers']) as unknown,
      'vtepd cleanup --for': ['--for-flannel'],
      'vtepd config get --ra': ['--raw'],
      'vtepd leave --for': [],
    };
    expect(offersFor(...Object.keys(expected))).toEqual(expected);
  });

  test('offers the options that begin so, and their values', () => {
    const name = shell === 'fish' ? '--resolve=' : '';
    const expected = {
      'vtepd --iface-': ['--iface-can-reach', '--iface-regex'],
      'vtepd --reso': ['--resolve'],
      'vtepd --resolve=': [`${name}on-demand`, `${name}preload`],
      'vtepd --iface l': expect.arrayContaining(['lo']) as unknown,
      'vtepd --etcd-cafile /etc/host': expect.arrayContaining([
        shell === 'fish' ? '/etc/hosts' : 'hosts',
      ]) as unknown,
    };
    expect(offersFor(...Object.keys(expected))).toEqual(expected);
  });
});

import fc from 'fast-check';
import { printJournal, printJson, printText, type Line } from '../../src/log-line';
import { RegistryError } from '../../src/model/errors';
import type { LogFields } from '../../src/ports';

const time = new Date(2026, 10, 23, 21, 5, 9, 7);
const line = (message: string, fields: LogFields = {}): Line => ({ time, level: 'info', message, fields });

describe('a line of text', () => {
  test('has the local time, the level, the message and the fields', () => {
    expect(printText(line('lease acquired', { subnet: '10.5.1.0/24', peers: 3, adopted: true }))).toBe(
      '2026-11-23 21:05:09.007 INFO  lease acquired  subnet=10.5.1.0/24 peers=3 adopted=true',
    );
    expect(printText({ ...line('out of subnets'), level: 'error' })).toBe(
      '2026-11-23 21:05:09.007 ERROR out of subnets',
    );
  });

  test('has a priority instead of a time for the journal', () => {
    const printed = (['error', 'warn', 'info', 'debug'] as const).map((level) =>
      printJournal({ ...line('x'), level }),
    );
    expect(printed).toEqual(['<3>x', '<4>x', '<6>x', '<7>x']);
  });

  test('quotes what would not be told from the next field', () => {
    expect(
      printJournal(line('m', { a: 'two words', b: '', c: 'k=v', d: 'say "x"', e: 'plain', f: undefined })),
    ).toBe('<6>m  a="two words" b="" c="k=v" d="say \\"x\\"" e=plain');
  });

  test('shows an error with its causes, and lists and objects as JSON', () => {
    const error = new RegistryError('unavailable', 'cannot list the leases', { cause: new Error('refused') });
    expect(
      printJournal(line('m', { error, list: ['a', 1n], when: new Set([1]), map: new Map([['k', 2]]) })),
    ).toBe(
      '<6>m  error="cannot list the leases: refused" list="[\\"a\\",\\"1\\"]" when=[1] map="{\\"k\\":2}"',
    );
  });

  test('is one line, whatever is in it', () => {
    fc.assert(
      fc.property(fc.string(), fc.dictionary(fc.string(), fc.anything()), (message, fields) => {
        for (const print of [printText, printJournal, printJson]) {
          expect(print(line(message, fields))).not.toMatch(/\p{Cc}/u);
        }
      }),
    );
  });
});

describe('a line of JSON', () => {
  test('has stable names', () => {
    expect(
      JSON.parse(
        printJson(line('lease acquired', { subnet: '10.5.1.0/24', error: new Error('x'), none: undefined })),
      ),
    ).toEqual({
      time: time.toISOString(),
      level: 'info',
      message: 'lease acquired',
      subnet: '10.5.1.0/24',
      error: 'x',
    });
  });

  test('does not let a field take the place of the message', () => {
    expect(JSON.parse(printJson(line('m', { message: 'n', level: 9 })))).toMatchObject({
      message: 'm',
      level: 'info',
      message_: 'n',
      level_: 9,
    });
  });

  test('survives what JSON cannot hold', () => {
    const loop: Record<string, unknown> = {};
    loop['loop'] = loop;
    expect(JSON.parse(printJson(line('m', { loop, f: () => 1, big: 1n })))).toMatchObject({
      loop: '(cannot be shown)',
      f: 'function',
      big: '1',
    });
  });
});

describe('secrets are not shown:', () => {
  const secret = 'hunter2';

  test.each([
    [{ password: secret }],
    [{ etcdPassword: secret }],
    [{ authToken: secret }],
    [{ options: { 'etcd-password': secret } }],
    [{ endpoint: `http://root:${secret}@10.0.0.1:2379` }],
    [{ error: new Error(`cannot dial https://root:${secret}@10.0.0.1:2379/`) }],
    [{ list: [`http://root:${secret}@a:1`] }],
    [{ text: `-----BEGIN RSA PRIVATE KEY-----\n${secret}\n-----END RSA PRIVATE KEY-----` }],
  ])('%j', (fields) => {
    for (const print of [printText, printJournal, printJson]) {
      expect(print(line('m', fields))).not.toContain(secret);
      expect(print(line('m', fields))).toContain('(not shown)');
    }
    expect(printText(line(`http://u:${secret}@h`))).not.toContain(secret);
  });
});

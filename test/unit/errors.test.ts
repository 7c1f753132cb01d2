import {
  ConfigError,
  HostError,
  KernelError,
  RegistryError,
  SubnetLostError,
  UnsupportedError,
  UsageError,
  describeError,
} from '../../src/model/errors';

test('each kind of error has a code that programs can tell it by', () => {
  expect(new UsageError('x').code).toBe('USAGE');
  expect(new ConfigError('x').code).toBe('CONFIG');
  expect(new UnsupportedError('x').code).toBe('UNSUPPORTED');
  expect(new SubnetLostError('x').code).toBe('SUBNET_LOST');
  const cause = new Error('why');
  expect(new RegistryError('denied', 'x', { cause })).toMatchObject({ code: 'denied', message: 'x', cause });
  const kernelError = new KernelError('EPERM', 'x', 'it says', { cause });
  expect(kernelError).toMatchObject({ code: 'EPERM', message: 'x', detail: 'it says', cause });
  expect(new HostError('ENOENT', 'x', { cause })).toMatchObject({ code: 'ENOENT', message: 'x', cause });
});

describe('an error is described on one line', () => {
  const chain = (...messages: string[]): Error =>
    messages.reduceRight<Error | undefined>((cause, text) => new Error(text, { cause }), undefined)!;

  test.each([
    ['itself', new Error('no'), 'no'],
    ['itself and its causes', chain('cannot start', 'no socket', 'EPERM'), 'cannot start: no socket: EPERM'],
    ['a text', 'no', 'no'],
    ['a cause that is a text', new Error('no', { cause: 'why' }), 'no: why'],
    ['a cause that is some object', new Error('no', { cause: { errno: 1 } }), 'no: {"errno":1}'],
    [
      'a cause that says nothing new only once',
      chain('cannot ask: EPERM', 'EPERM', 'why'),
      'cannot ask: EPERM: why',
    ],
  ])('by %s', (_, error, text) => {
    expect(describeError(error)).toBe(text);
  });

  test('and ends after eight causes, also where one is its own', () => {
    const letters = [...'abcdefghij'];
    expect(describeError(chain(...letters))).toBe(letters.slice(0, 8).join(': '));
  });
});

it.each<[string, unknown, string]>([
  ['nothing', undefined, 'no reason was given'],
  ['an empty text', '', 'no reason was given'],
  ['an error without a message', new TypeError(''), 'TypeError'],
  ['one with a code alone', Object.assign(new Error(''), { code: 'ECONNREFUSED' }), 'ECONNREFUSED'],
  ['several at once', new AggregateError([new Error('connection refused')]), 'connection refused'],
  [
    'what leads back to itself',
    (() => {
      const a: Record<string, unknown> = {};
      a['a'] = a;
      return a;
    })(),
    '[object Object]',
  ],
])('of %s there is a reason in words, whatever was thrown', (_, thrown, words) => {
  expect(describeError(thrown)).toBe(words);
});

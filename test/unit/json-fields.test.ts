import { ConfigError } from '../../src/model/errors';
import { JsonFields, isJsonObject, printBriefly } from '../../src/model/json-fields';

const fields = (object: object) => new JsonFields(object, 'in a test: ');

describe('the members of a JSON object', () => {
  test('are found whatever their case; of several spellings the last one wins', () => {
    expect(fields({ NAME: 'a', name: 'b' }).string('Name', '')).toBe('b');
    expect(fields({ name: 'b', NAME: null }).raw('Name')).toBeNull();
    expect(fields({ other: 1 }).raw('Name')).toBeUndefined();
  });

  test('have their default where they are missing or null', () => {
    for (const object of [{}, { a: null }]) {
      expect(fields(object).string('A', 'text')).toBe('text');
      expect(fields(object).boolean('A', true)).toBe(true);
      expect(fields(object).boolean('A', false)).toBe(false);
      expect(fields(object).boolean('A', undefined)).toBeUndefined();
      expect(fields(object).integer('A', 7)).toBe(7);
    }
  });

  test('are what is written, whatever the default', () => {
    for (const value of [true, false])
      for (const fallback of [true, false, undefined])
        expect(fields({ a: value }).boolean('A', fallback)).toBe(value);
    expect(fields({ a: '' }).string('A', 'text')).toBe('');
    expect(fields({ a: 0 }).integer('A', 7)).toBe(0);
  });

  test('may be whole numbers up to both bounds, and not beyond', () => {
    expect(fields({ a: 3 }).integer('A', 5, 3, 9)).toBe(3);
    expect(fields({ a: 9 }).integer('A', 5, 3, 9)).toBe(9);
    for (const a of [2, 10])
      expect(() => fields({ a }).integer('A', 5, 3, 9)).toThrow(
        new ConfigError(`in a test: A must be from 3 to 9, not ${a}`),
      );
    expect(fields({ a: Number.MAX_SAFE_INTEGER }).integer('A', 5)).toBe(Number.MAX_SAFE_INTEGER);
  });

  test.each([
    ['text', () => fields({ a: 1 }).string('A', ''), 'A must be text in double quotes, not 1'],
    ['true or false', () => fields({ a: 'true' }).boolean('A', true), 'A must be true or false, not "true"'],
    ['a whole number', () => fields({ a: '1' }).integer('A', 0), 'A must be a whole number, not "1"'],
    ['a whole number, too', () => fields({ a: 1.5 }).integer('A', 0), 'A must be a whole number, not 1.5'],
    ['not negative', () => fields({ a: -1 }).integer('A', 0), 'A must be 0 or more, not -1'],
    [
      'a number there is',
      () => fields({ a: Infinity }).integer('A', 0),
      'A must be a whole number, not Infinity',
    ],
    ['a list', () => fields({ a: [1] }).integer('A', 0), 'A must be a whole number, not [1]'],
  ])('that should be %s and are not, are named', (_, read, message) => {
    expect(read).toThrow(new ConfigError(`in a test: ${message}`));
  });

  test('are named without a place where none is given', () => {
    expect(() => new JsonFields({ a: 1 }).string('A', '')).toThrow(
      new ConfigError('A must be text in double quotes, not 1'),
    );
  });
});

test('an object of JSON is no list, no null and no plain value', () => {
  expect(isJsonObject({})).toBe(true);
  for (const other of [[], null, undefined, 'text', 1, true]) expect(isJsonObject(other)).toBe(false);
});

test('a value is printed whole up to forty characters, and cut there', () => {
  expect(printBriefly(undefined)).toBe('nothing');
  expect(printBriefly({ a: [1] })).toBe('{"a":[1]}');
  expect(printBriefly('x'.repeat(38))).toBe(`"${'x'.repeat(38)}"`);
  expect(printBriefly('x'.repeat(39))).toBe(`"${'x'.repeat(39)}…`);
});

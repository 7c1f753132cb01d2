/** README.md and docs: their links lead somewhere. */
import { resolve } from 'node:path';
import { deadLinks } from '../support/links';

test('every link leads to a page that there is, and to a heading of it', () => {
  expect(deadLinks(resolve(__dirname, '../..'))).toEqual([]);
});

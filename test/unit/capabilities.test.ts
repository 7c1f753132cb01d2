import { requireNetAdmin } from '../../src/host/capabilities';
import { UnsupportedError } from '../../src/model/errors';

const status = (effective: string) =>
  `Name:\tnode\nCapPrm:\t0000000000000000\nCapEff:\t${effective}\nCapBnd:\t0\n`;

test('CAP_NET_ADMIN is required, and named when it is missing', () => {
  expect(() => requireNetAdmin(status('0000000000001000'))).not.toThrow();
  expect(() => requireNetAdmin(status('000001ffffffffff'))).not.toThrow();
  expect(() => requireNetAdmin(status('000001ffffffefff'))).toThrow(UnsupportedError);
  expect(() => requireNetAdmin(status('0000000000000000'))).toThrow(/CAP_NET_ADMIN/);
});

test('a kernel that does not tell its capabilities is asked no further', () => {
  expect(() => requireNetAdmin('Name:\tnode\n')).not.toThrow();
});

import { requireNetAdmin } from '../../src/host/capabilities';
import { UnsupportedError } from '../../src/model/errors';

const status = (effective: string) =>
  `Name:\tnode\nCapPrm:\t0000000000000000\nCapEff:\t${effective}\nCapBnd:\t0\n`;

test.each([
  ['has it alone', '0000000000001000', true],
  ['has everything', '000001ffffffffff', true],
  ['has everything but it', '000001ffffffefff', false],
  ['has its neighbours', '0000000000002800', false],
  ['has nothing', '0000000000000000', false],
])('a process that %s may write to the kernel, or hears that CAP_NET_ADMIN is missing', (_, mask, may) => {
  const missing = new UnsupportedError(
    'the capability CAP_NET_ADMIN is needed to write links, routes and neighbors: run vtepd as root, or grant it (setpriv, systemd)',
  );
  expect(refusalOf(status(mask))).toEqual(may ? undefined : missing);
});

test('a kernel that does not tell its capabilities is asked no further', () => {
  expect(refusalOf('Name:\tnode\nCapBnd:\t0000000000000000\n')).toBeUndefined();
});

/** What is said to a process with this in /proc/self/status; undefined: it may go on. */
function refusalOf(text: string): unknown {
  try {
    return requireNetAdmin(text);
  } catch (error) {
    return error;
  }
}

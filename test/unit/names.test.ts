/** Names by which an agent finds what is its own on the host. */
import { parseSocketName, printSocketName } from '../../src/model/control';
import { isOurLinkName, linkNameOf } from '../../src/model/overlay';
import { exampleOverlay } from '../support/examples';

describe('the control socket of a process', () => {
  test('is named by network namespace and process', () => {
    expect(printSocketName(4026531840n, 77)).toBe('4026531840-77.sock');
    expect(parseSocketName(4026531840n, '4026531840-77.sock')).toBe(77);
  });

  test.each([
    ['another namespace', '4026531841-77.sock'],
    ['a longer name', 'x4026531840-77.sock'],
    ['something behind it', '4026531840-77.sock.tmp'],
    ['no process', '4026531840-.sock'],
    ['words', 'status.sock'],
  ])('is not one of our namespace with %s', (_, name) => {
    expect(parseSocketName(4026531840n, name)).toBeUndefined();
  });
});

describe('the link of an overlay', () => {
  test('is named as flannel names it', () => {
    const { backend } = exampleOverlay();
    expect(linkNameOf({ ...backend, vni: 4096 })).toBe('flannel.4096');
    expect(isOurLinkName('flannel.1')).toBe(true);
    expect(isOurLinkName('flannel.4096')).toBe(true);
  });

  test.each(['flannel.', 'flannel.x', 'xflannel.1', 'flannel.1x', 'flannel-v6.1', 'eth0'])(
    'is not named %s',
    (name) => {
      expect(isOurLinkName(name)).toBe(false);
    },
  );
});

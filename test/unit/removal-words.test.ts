/** What prerm of the package says of the lease, for each kind of it; the real thing is e2e/first-contact. */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { removeTemporaryDirectories, temporaryDirectory } from '../support/temporary-directory';

afterAll(removeTemporaryDirectories);

const SCRIPT = readFileSync(resolve(__dirname, '../../scripts/package.d/prerm'), 'utf8');
const LEASE = {
  name: '10.5.7.0-24',
  subnet: '10.5.7.0/24',
  publicIp: '192.0.2.1',
  vtepMac: '02:00:00:00:00:01',
};

/** Runs it below a directory of its own, with agents that say this of their leases; the first is the service's. */
function said(leases: readonly object[], { hasState = true, hasDefaults = false, isFull = false } = {}) {
  const root = temporaryDirectory();
  for (const place of ['bin', 'etc', 'usr/lib/vtepd/dist', 'usr/lib/vtepd/native', 'var/lib/vtepd'])
    mkdirSync(join(root, place), { recursive: true });
  const program = (name: string, text: string) => {
    writeFileSync(join(root, name), `#!/bin/sh\n${text}\n`);
    chmodSync(join(root, name), 0o755);
  };
  const statuses = leases.map((lease, n) =>
    JSON.stringify({ version: '1', processId: 77 + n, lease, peers: {} }),
  );
  // Agents of other overlays come in any order.
  program('bin/vtepd', `cat << 'END'\n${statuses.reverse().join('\n')}\nEND\n[ ${leases.length} != 0 ]`);
  program('bin/systemctl', 'echo 77');
  program('bin/deb-systemd-invoke', '');
  if (isFull) program('bin/cp', 'echo "cp: no space left on device" >&2; exit 1');
  program('usr/lib/vtepd/run', 'home=/usr/lib/vtepd');
  if (hasState) writeFileSync(join(root, 'var/lib/vtepd/state.json'), '{}');
  if (hasDefaults) writeFileSync(join(root, 'etc/vtepd'), 'FLANNELD_IFACE=eth0\n');
  const script = SCRIPT.replaceAll('/usr/bin/vtepd', join(root, 'bin/vtepd'))
    .replaceAll('/usr/lib/vtepd', join(root, 'usr/lib/vtepd'))
    .replaceAll('/var/lib/vtepd', join(root, 'var/lib/vtepd'))
    .replaceAll('/etc/default/vtepd', join(root, 'etc/vtepd'));
  const env = { PATH: `${join(root, 'bin')}:/usr/bin:/bin`, TZ: 'UTC' };
  const text = execFileSync('sh', ['-c', script, 'prerm', 'remove'], { encoding: 'utf8', env });
  return text.replaceAll(root, '');
}

test('a lease stays until its time is over, and the line that gives it back is there', () => {
  const text = said([
    { ...LEASE, remainingSeconds: 80_000 },
    { ...LEASE, subnet: '10.6.1.0/24', remainingSeconds: 10 },
  ]);
  expect(text).toMatch(
    /^vtepd: the lease of 10\.5\.7\.0\/24 in etcd stays until \d{4}-\d\d-\d\d \d\d:\d\d UTC; then other hosts drop this one\.$/m,
  );
  expect(text).toMatch(/^vtepd: to give the lease back now, .*: \/var\/lib\/vtepd-removed\/vtepd leave$/m);
});

test('the variables that systemd gave the agent are given to that line, too', () => {
  expect(said([{ ...LEASE, remainingSeconds: 80_000 }], { hasDefaults: true })).toContain(
    "env $(grep '^[A-Z]' /etc/vtepd) /var/lib/vtepd-removed/vtepd leave\n",
  );
});

test('a reservation stays', () => {
  const text = said([LEASE]);
  expect(text).toContain('the lease of 10.5.7.0/24 in etcd is a reservation: it stays until it is deleted');
  expect(text).not.toContain('give the lease back');
});

test('of a lease that etcd does not have any more nothing is said', () => {
  const text = said([{ ...LEASE, remainingSeconds: 0, lost: 'another host holds it' }]);
  expect(text).not.toMatch(/lease/);
  expect(text).toContain('vtepd: traffic goes on as it is');
});

test('without a running agent it is said how long a lease may stay', () => {
  expect(said([])).toContain('stays until a day after the agent last renewed it');
});

test('where no agent ever was on the overlay, there is nothing to say', () => {
  expect(said([], { hasState: false })).toBe('');
});

test('where what a purge needs finds no room, the removal goes on, and speaks of nothing that needs it', () => {
  const text = said([{ ...LEASE, remainingSeconds: 80_000 }], { isFull: true });
  expect(text).toContain('vtepd: traffic goes on as it is');
  expect(text).toMatch(/^vtepd: the lease of 10\.5\.7\.0\/24 in etcd stays until /m);
  expect(text).not.toContain('/var/lib/vtepd-removed/vtepd');
  expect(text).not.toContain('apt purge');
});

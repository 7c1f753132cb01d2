import path from 'node:path';
import { setAmbient } from '../../native';
import { run } from '../support/lab/command';
import { thrownBy } from './support/thrown-by';

/** Starts the same program three times, as a service with one right does: as it is, with that right lowered, and raised again. */
const PROGRAM = `
  const { spawnSync } = require('node:child_process');
  const { setAmbient } = require(process.argv[1]);
  const NET_ADMIN = 12;
  const effective = () => spawnSync('grep', ['CapEff', '/proc/self/status']).stdout.toString().trim();
  const before = effective();
  setAmbient(NET_ADMIN, false);
  const lowered = effective();
  setAmbient(NET_ADMIN, true);
  console.log(JSON.stringify([before, lowered, effective()]));
`;

test('A program that is started while an ambient capability is lowered does not have it; the next one has it again', async () => {
  const service =
    '--reuid=65534 --regid=65534 --clear-groups --inh-caps=-all,+net_admin --ambient-caps=+net_admin';
  const native = path.join(__dirname, '../../native');
  const said = await run('setpriv', [...service.split(' '), process.execPath, '-e', PROGRAM, native]);
  const [none, admin] = ['0000000000000000', '0000000000001000'].map((set) => `CapEff:\t${set}`);
  expect(JSON.parse(said)).toEqual([admin, none, admin]);
});

test('Raising one that is not inheritable fails as prctl(2) does', () => {
  expect(thrownBy(() => setAmbient(12, true))).toMatchObject({ code: 'EPERM', syscall: 'prctl' });
});

test.each([
  ['no capability', [], 'ERR_INVALID_ARG_TYPE'],
  ['a number that is none', [64, true], 'ERR_OUT_OF_RANGE'],
  ['a number for a boolean', [12, 1], 'ERR_INVALID_ARG_TYPE'],
])('setAmbient refuses %s', (_what, words, code) => {
  expect(thrownBy(() => (setAmbient as (...all: unknown[]) => void)(...words))).toMatchObject({ code });
});

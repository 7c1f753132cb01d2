import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readNameServers } from '../../src/host/name-servers';
import { parseNameServers } from '../../src/model/resolv-conf';

test('name servers are read as the C library reads them: three, in their order, and nothing else', () => {
  const text = [
    '# nameserver 192.0.2.1',
    'search example.org',
    'nameserver 172.31.0.2',
    '  nameserver\tfd00::53 # second',
    'nameserver nonsense',
    `nameserver ${'1'.repeat(100_000)}`,
    'nameserver 192.0.2.3',
    'nameserver 192.0.2.4',
  ].join('\n');
  expect(parseNameServers(text)).toEqual(['172.31.0.2', 'fd00::53', '192.0.2.3']);
});

test('of several files each server is named once, and what is no file names none', () => {
  const directory = mkdtempSync(join(tmpdir(), 'vtepd-name-servers-'));
  try {
    const files = ['a', 'b'].map((name) => join(directory, name));
    writeFileSync(files[0]!, 'nameserver 127.0.0.53\n');
    writeFileSync(files[1]!, 'nameserver 172.31.0.2\nnameserver 127.0.0.53\n');
    const all = [...files, join(directory, 'none'), directory, '/dev/zero'];
    expect(readNameServers(all)).toEqual(['127.0.0.53', '172.31.0.2']);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

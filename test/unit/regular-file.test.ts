import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readInput } from '../../src/cli/input';
import { SubnetFile } from '../../src/host/subnet-file';
import { LARGEST_FILE, makeDirectory, readRegularFile, utf8TextOf } from '../../src/regular-file';

let directory: string;
beforeEach(() => (directory = mkdtempSync(join(tmpdir(), 'vtepd-files-'))));
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const path = (name: string) => join(directory, name);

function fifo(name: string): string {
  execFileSync('mkfifo', [path(name)]);
  return path(name);
}

describe('a regular file', () => {
  test('is read, also through a link, and also one of /proc', () => {
    writeFileSync(path('file'), 'text');
    symlinkSync('file', path('link'));
    expect(readRegularFile(path('link')).content.toString()).toBe('text');
    expect(readRegularFile('/proc/self/status').content.toString()).toContain('Pid:');
  });

  test('is read up to its bound, and refused beyond it', () => {
    writeFileSync(path('file'), Buffer.alloc(100));
    expect(readRegularFile(path('file'), 100).content).toHaveLength(100);
    expect(() => readRegularFile(path('file'), 99)).toThrow('it is larger than 99 bytes');
  });
});

describe('what is no regular file is refused at once, by name:', () => {
  test('a pipe, which nobody opens for writing', () => {
    expect(() => readRegularFile(fifo('pipe'))).toThrow('it is a pipe, not a regular file');
  });

  test.each(['/dev/null', '/dev/zero'])('%s', (device) => {
    expect(() => readRegularFile(device)).toThrow('it is a device, not a regular file');
  });

  test('a directory', () => {
    expect(() => readRegularFile(directory)).toThrow('it is a directory');
  });

  test('links in a circle', () => {
    symlinkSync('circle', path('circle'));
    expect(() => readRegularFile(path('circle'))).toThrow('its links lead in a circle');
  });

  test('a socket', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(path('socket'), resolve));
    expect(() => readRegularFile(path('socket'))).toThrow('it is a socket, or a device that is not there');
    server.close();
  });
});

describe('the subnet file', () => {
  test('is never written over a device: /dev/null stays one', async () => {
    // A device of our own, so that a failure costs nothing.
    execFileSync('mknod', [path('null'), 'c', '1', '3']);
    await expect(new SubnetFile(path('null')).write('x')).rejects.toMatchObject({
      message: `cannot write ${path('null')}`,
    });
    expect(statSync(path('null')).isCharacterDevice()).toBe(true);
    await expect(new SubnetFile(path('null')).remove()).rejects.toThrow();
    expect(statSync(path('null')).isCharacterDevice()).toBe(true);
  });

  test('is never read from a pipe, nor written over one', async () => {
    const pipe = fifo('pipe');
    await expect(new SubnetFile(pipe).read()).rejects.toThrow(`cannot read ${pipe}`);
    await expect(new SubnetFile(pipe).write('x')).rejects.toThrow(`cannot write ${pipe}`);
    expect(statSync(pipe).isFIFO()).toBe(true);
  });

  test('is refused where no file can be', async () => {
    for (const place of ['/proc/x/y', '/sys/x/y'])
      await expect(new SubnetFile(place).write('x')).rejects.toThrow(`cannot write ${place}`);
  });

  test('is written behind a link, which stays', async () => {
    mkdirSync(path('real'));
    symlinkSync('real/subnet.env', path('link'));
    const file = new SubnetFile(path('link'));
    await file.write('one');
    await file.write('two');
    expect(readlinkSync(path('link'))).toBe('real/subnet.env');
    expect(readFileSync(path('real/subnet.env'), 'utf8')).toBe('two');
    await file.remove();
    expect(await file.read()).toBeUndefined();
  });
});

describe('a command that is run once', () => {
  test('reads a file, and a pipe once its writer comes', async () => {
    writeFileSync(path('file'), 'text');
    expect((await readInput(path('file'))).toString()).toBe('text');
    const pipe = fifo('pipe');
    const reading = readInput(pipe);
    const written = once(spawn('sh', ['-c', 'printf "%s" piped > "$0"', pipe], { stdio: 'ignore' }), 'close');
    expect((await reading).toString()).toBe('piped');
    await written;
  });

  test('gives a pipe up that goes on and on, a byte at a time', async () => {
    const pipe = fifo('drip');
    const writer = spawn('sh', ['-c', 'exec > "$0"; while printf x; do sleep 0.05; done', pipe], {
      stdio: 'ignore',
    });
    await expect(readInput(pipe, undefined, 500)).rejects.toThrow('it did not come to its end within 0.5 s');
    writer.kill('SIGKILL');
  });

  test('reads no more than it may from a pipe', async () => {
    const pipe = fifo('pipe');
    const reading = readInput(pipe);
    const written = once(
      spawn('sh', ['-c', `head -c ${LARGEST_FILE + 1} /dev/zero > "$0"`, pipe], {
        stdio: 'ignore',
      }),
      'close',
    );
    await expect(reading).rejects.toThrow(`it is larger than ${LARGEST_FILE} bytes`);
    await written;
  });

  test('ends its waiting for a pipe when it is told to', async () => {
    const stop = new AbortController();
    const reading = readInput(fifo('pipe'), stop.signal);
    const outcome = expect(reading).rejects.toThrow();
    stop.abort();
    await outcome;
  });

  test('refuses a device', async () => {
    await expect(readInput('/dev/zero')).rejects.toThrow('it is a device, not a regular file');
  });

  test('tells a missing file', async () => {
    await expect(readInput(path('none'))).rejects.toMatchObject({ code: 'ENOENT' });
  });
});

test('directories are made, and where none can be made that ends with an error', async () => {
  await makeDirectory(path('a/b/c'));
  await makeDirectory(path('a/b/c'));
  expect(statSync(path('a/b/c')).isDirectory()).toBe(true);
  await expect(makeDirectory('/proc/x/y')).rejects.toThrow();
  writeFileSync(path('file'), '');
  await expect(makeDirectory(path('file/x'))).rejects.toThrow();
});

describe('what a person wrote', () => {
  test('is read as UTF-8, with its byte order mark', () => {
    expect(utf8TextOf(Buffer.from('\ufeffZürich'))).toBe('\ufeffZürich');
    expect(utf8TextOf(Buffer.alloc(0))).toBe('');
  });

  test.each([
    ['Latin-1', Buffer.from('Zürich', 'latin1'), 'it is not text in UTF-8'],
    ['UTF-16 with its mark', Buffer.from('\ufeff{}', 'utf16le'), 'but looks like UTF-16: save it as UTF-8'],
    ['UTF-16 the other way round', Buffer.from('\ufeff{}', 'utf16le').swap16(), 'but looks like UTF-16'],
    ['UTF-16 without a mark', Buffer.from('{}', 'utf16le'), 'but looks like UTF-16'],
    ['half a surrogate pair', Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22]), 'it is not text in UTF-8'],
  ])('in %s is refused by name', (_, content, message) => {
    expect(() => utf8TextOf(content)).toThrow(message);
  });
});

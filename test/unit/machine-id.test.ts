import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readMachineId } from '../../src/host/machine-id';
import { temporaryDirectory } from '../support/temporary-directory';

const ID = '3d1219c7c4c5404aaa1f6d2a48adfda4';

function files(...texts: (string | undefined)[]): string[] {
  const directory = temporaryDirectory();
  return texts.map((text, index) => {
    const file = join(directory, `machine-id-${index}`);
    if (text !== undefined) writeFileSync(file, text);
    return file;
  });
}

describe('the ID of the machine', () => {
  it('is the same for the same machine, and does not tell the ID of the machine itself', () => {
    const id = readMachineId(files(`${ID}\n`));
    expect(id).toMatch(/^[\da-f]{32}$/);
    expect(id).not.toContain(ID.slice(0, 8));
    expect(readMachineId(files(ID))).toBe(id);
    expect(readMachineId(files(ID.replace('3', '4')))).not.toBe(id);
  });

  it('is that of the next file where there is a pipe, which nobody writes to', () => {
    const [pipe, file] = files(undefined, ID) as [string, string];
    execFileSync('mkfifo', [pipe]);
    expect(readMachineId([pipe, file])).toBe(readMachineId([file]));
  });

  it.each([
    ['no such file', undefined],
    ['a machine that is being set up', 'uninitialized\n'],
    ['an empty file', ''],
    ['a file with more in it', `${ID}\n${ID}\n`],
  ])('is that of the next file where there is %s', (_, text) => {
    expect(readMachineId(files(text, ID))).toBe(readMachineId(files(ID)));
    expect(readMachineId(files(text))).toBeUndefined();
  });
});

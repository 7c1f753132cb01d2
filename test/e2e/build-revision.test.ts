/** scripts/build-revision: an earlier version from the history, or what to do where there is no history. */
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { attempt, run } from '../support/lab/command';
import { RELEASE, revision } from '../support/lab/revision';

const ROOT = resolve(__dirname, '../..');
const directory = mkdtempSync(join(tmpdir(), 'vtepd-revision-'));

afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** The scripts as they are, in a place that has this history, or none. */
function bring(place: string): string {
  mkdirSync(join(place, 'scripts'), { recursive: true });
  for (const name of ['build-revision', 'lib.sh', 'releases'])
    cpSync(join(ROOT, 'scripts', name), join(place, 'scripts', name));
  return place;
}

async function said(place: string, ref: string) {
  const { status, stderr } = await attempt(join(place, 'scripts/build-revision'), [ref], {
    env: process.env,
  });
  return { status, stderr };
}

test('a release is built from its commit, which the list of releases knows', async () => {
  const folder = await revision(RELEASE);
  const [, commit] = new RegExp(`^${RELEASE} ([0-9a-f]{40}) `, 'm').exec(
    readFileSync(join(ROOT, 'scripts/releases'), 'utf8'),
  )!;
  expect(folder.split('/').at(-1)).toBe(commit);
  expect(await run(process.execPath, [join(folder, 'dist/main.js'), '--version'])).toBe(
    `vtepd ${RELEASE.slice(1)}\n`,
  );
  expect(existsSync(join(folder, '.git'))).toBe(false);
  // By another of its names it is the same, and is not built again.
  expect(await revision(commit!.slice(0, 12))).toBe(folder);
});

test('the changelog names the commit of each release', () => {
  const changelog = readFileSync(join(ROOT, 'CHANGELOG.md'), 'utf8');
  for (const line of readFileSync(join(ROOT, 'scripts/releases'), 'utf8').trim().split('\n').slice(1)) {
    const [name, commit, date] = line.split(' ');
    expect(changelog).toContain(`## ${name!.slice(1)} - ${date}\n`);
    expect(changelog).toContain(`${name} is commit \`${commit}\``);
  }
});

test('a revision that there is not is refused, with the releases that there are', async () => {
  expect(await said(ROOT, 'no-such-thing')).toEqual({
    status: 1,
    stderr: `build-revision: cannot build no-such-thing: git knows no such revision. The releases are: ${RELEASE}\n`,
  });
});

test('in a shallow clone it says how to get the history', async () => {
  const clone = bring(join(directory, 'shallow'));
  const git = (...words: string[]) => run('git', ['-C', clone, ...words], { env: process.env });
  await git('init', '--quiet');
  const author = ['-c', 'user.name=test', '-c', 'user.email=test@localhost'];
  await git(...author, 'commit', '--quiet', '--allow-empty', '--message=the last one');
  // What git notes of a clone that ends here.
  writeFileSync(join(clone, '.git/shallow'), await git('rev-parse', 'HEAD'));
  expect(await said(clone, RELEASE)).toEqual({
    status: 1,
    stderr: `build-revision: cannot build ${RELEASE}: this clone is shallow and ends before it. Run: git fetch --unshallow\n`,
  });
});

test('in an unpacked tarball it says how to get the history', async () => {
  const place = bring(join(directory, 'tarball'));
  expect(await said(place, RELEASE)).toEqual({
    status: 1,
    stderr: `build-revision: cannot build ${RELEASE}: ${place} has no git history. Clone the repository, and run this in the clone.\n`,
  });
});

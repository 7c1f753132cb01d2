/** A Debian system as debootstrap makes it anew: minimal, and with systemd. */
import { run } from './command';

export type DebianRelease = 'bookworm' | 'trixie';

/** Makes it in that directory, with these packages besides. They name all that they depend on by names that others provide, too. */
export async function makeDebian(
  release: DebianRelease,
  directory: string,
  packages: readonly string[] = [],
): Promise<void> {
  const include = `--include=${['systemd-sysv', 'procps', ...packages].join(',')}`;
  await run('debootstrap', ['--variant=minbase', include, release, directory], {
    withinMilliseconds: 800_000,
  });
}

/** The versions of the CNI specification this plugin speaks. */
import { CNI_CODES, CniError } from './cni-error';

/** Oldest first. What ADD returns is the delegate's answer, so the delegate must speak the version as well. */
export const VERSIONS = ['0.1.0', '0.2.0', '0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'] as const;

export type CniVersion = (typeof VERSIONS)[number];

/** The version in which each command came to be. */
const SINCE = { CHECK: '0.4.0', STATUS: '1.1.0', GC: '1.1.0' } as const;

/** The version that a configuration states. None means the first, as in Go's library. Throws code 1 for one we do not speak. */
export function readVersion(stated: unknown): CniVersion {
  if (stated === undefined || stated === '') return '0.1.0';
  const version = VERSIONS.find((each) => each === stated);
  if (version !== undefined) return version;
  throw new CniError(
    CNI_CODES.incompatibleVersion,
    'incompatible CNI versions',
    `config is ${JSON.stringify(stated)}, plugin supports ${JSON.stringify(VERSIONS)}`,
  );
}

/** Throws code 1 when that version of the specification does not have the command. */
export function requireCommand(command: string, version: CniVersion): void {
  const since = command in SINCE ? SINCE[command as keyof typeof SINCE] : VERSIONS[0];
  if (VERSIONS.indexOf(version) >= VERSIONS.indexOf(since)) return;
  throw new CniError(
    CNI_CODES.incompatibleVersion,
    `config version does not allow ${command}`,
    `config is ${version}, ${command} came with ${since}`,
  );
}

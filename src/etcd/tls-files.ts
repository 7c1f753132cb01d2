/** The certificates for talking to etcd: files that somebody renews while we run. */
import { readFileSync, statSync } from 'node:fs';
import { UsageError } from '../model/errors';
import { CallError } from './errors';

export interface TlsFilePaths {
  readonly caFile?: string | undefined;
  readonly certFile?: string | undefined;
  readonly keyFile?: string | undefined;
}

export interface TlsMaterial {
  readonly rootCertificate: Buffer | undefined;
  readonly certChain: Buffer | undefined;
  readonly privateKey: Buffer | undefined;
  /** Changes when a file does. */
  readonly stamp: string;
}

/** What the CA defaults to: Node comes with Mozilla's list, but a host's own CAs are only here. */
const SYSTEM_CA_FILE = '/etc/ssl/certs/ca-certificates.crt';

/** Reads PEM files, and tells when they have changed. */
export class TlsFiles {
  readonly #paths: readonly string[];

  /** Throws a {@link UsageError} when a certificate lacks its key, or a key its certificate. */
  constructor(private readonly files: TlsFilePaths) {
    if (Boolean(files.certFile) !== Boolean(files.keyFile)) {
      throw new UsageError('--etcd-certfile and --etcd-keyfile are needed both, or neither');
    }
    this.#paths = [files.caFile, files.certFile, files.keyFile].filter(
      (path) => path !== undefined && path !== '',
    ) as string[];
  }

  /** Cheap: one stat per file. A file that cannot be looked at counts as changed, and {@link read} will say why. */
  get stamp(): string {
    return this.#paths
      .map((path) => {
        const stat = statSync(path, { throwIfNoEntry: false });
        return stat ? `${stat.ino}:${stat.size}:${stat.mtimeMs}` : 'missing';
      })
      .join(' ');
  }

  /** Throws a {@link CallError} that names the file. */
  read(): TlsMaterial {
    // Before the reading: a file changed while we read has another stamp next time.
    const { stamp } = this;
    const { caFile, certFile, keyFile } = this.files;
    return {
      rootCertificate: caFile ? readPem(caFile, 'CA file') : readSystemCas(),
      certChain: certFile ? readPem(certFile, 'certificate file') : undefined,
      privateKey: keyFile ? readPem(keyFile, 'key file') : undefined,
      stamp,
    };
  }
}

function readPem(path: string, what: string): Buffer {
  let content: Buffer;
  try {
    content = readFileSync(path);
  } catch (error) {
    const why =
      (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'it does not exist' : (error as Error).message;
    throw new CallError('denied', `the ${what} '${path}' cannot be read: ${why}`, error);
  }
  if (!content.includes('-----BEGIN ')) throw new CallError('denied', `the ${what} '${path}' holds no PEM`);
  return content;
}

function readSystemCas(): Buffer | undefined {
  try {
    return readFileSync(SYSTEM_CA_FILE);
  } catch {
    return undefined;
  }
}

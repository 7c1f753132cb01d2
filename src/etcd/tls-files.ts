/** The certificates for talking to etcd: files that somebody renews while we run. */
import { X509Certificate, createPrivateKey } from 'node:crypto';
import { statSync } from 'node:fs';
import { UsageError } from '../model/errors';
import { readRegularFile } from '../regular-file';
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
const LARGEST_CA_FILE = 16 << 20;

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
    return this.#paths.map(stampOf).join(' ');
  }

  /** Throws a {@link CallError} that names the file. */
  read(): TlsMaterial {
    // Before the reading: a file changed while we read has another stamp next time.
    const { stamp } = this;
    const { caFile, certFile, keyFile } = this.files;
    const rootCertificate = caFile ? readCas(caFile) : readSystemCas();
    const certChain = certFile ? readPem(certFile, 'certificate file') : undefined;
    const privateKey = keyFile ? readPem(keyFile, 'key file') : undefined;
    if (certChain && privateKey) checkPair(certFile!, certChain, keyFile!, privateKey);
    return {
      rootCertificate,
      certChain,
      privateKey,
      stamp,
    };
  }
}

function stampOf(path: string): string {
  try {
    const { ino, size, mtimeMs } = statSync(path);
    return `${ino}:${size}:${mtimeMs}`;
  } catch (error) {
    // Missing, a loop of links, a directory that we may not enter, a path that is none.
    return (error as NodeJS.ErrnoException).code ?? 'missing';
  }
}

function readPem(path: string, what: string): Buffer {
  let content: Buffer;
  try {
    ({ content } = readRegularFile(path));
  } catch (error) {
    const why =
      (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'it does not exist' : (error as Error).message;
    throw new CallError('denied', `the ${what} '${path}' cannot be read: ${why}`, error);
  }
  if (!content.includes('-----BEGIN ')) throw new CallError('denied', `the ${what} '${path}' holds no PEM`);
  return content;
}

/** Of a file whose first certificate cannot be read OpenSSL takes none, and says nothing: then nobody would be trusted. */
function readCas(path: string): Buffer {
  const content = readPem(path, 'CA file');
  parsed(() => new X509Certificate(content), `the CA file '${path}' is damaged, or holds no certificate`);
  return content;
}

/** What OpenSSL would say of them in its own words, or etcd only after we have connected. */
function checkPair(certFile: string, certPem: Buffer, keyFile: string, keyPem: Buffer): void {
  if (/-----BEGIN ENCRYPTED PRIVATE KEY-----|Proc-Type: 4,ENCRYPTED/.test(keyPem.toString('latin1'))) {
    throw new CallError(
      'denied',
      `the key file '${keyFile}' is encrypted, and there is nobody to ask for its password: store it decrypted ("openssl pkey -in … -out …"), readable by vtepd alone`,
    );
  }
  const certificate = parsed(
    () => new X509Certificate(certPem),
    `the certificate file '${certFile}' is damaged`,
  );
  const key = parsed(
    () => createPrivateKey(keyPem),
    `the key file '${keyFile}' holds no private key, or is damaged`,
  );
  if (!certificate.checkPrivateKey(key)) {
    throw new CallError(
      'denied',
      `the key file '${keyFile}' is not the key of the certificate in '${certFile}'`,
    );
  }
}

function parsed<T>(parse: () => T, complaint: string): T {
  try {
    return parse();
  } catch (error) {
    throw new CallError('denied', complaint, error);
  }
}

function readSystemCas(): Buffer | undefined {
  try {
    return readRegularFile(SYSTEM_CA_FILE, LARGEST_CA_FILE).content;
  } catch {
    return undefined;
  }
}

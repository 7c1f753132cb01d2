/** Certificates for tests, by openssl. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];

/** A certificate and its key, as PEM files. */
export interface CertificateFiles {
  readonly cert: string;
  readonly key: string;
}

/** A certificate authority with a directory of its own. */
export class Authority {
  #count = 0;

  private constructor(
    private readonly directory: string,
    private readonly files: CertificateFiles,
  ) {}

  /** In that directory, which exists; or in one of its own. */
  static async create(name: string, directory?: string): Promise<Authority> {
    directory ??= await mkdtemp(join(tmpdir(), 'vtepd-ca-'));
    const files = { cert: join(directory, 'ca.crt'), key: join(directory, 'ca.key') };
    await run('openssl', [
      ...['req', '-x509', ...NEW_KEY, '-days', '2', '-subj', `/CN=${name}`],
      ...['-keyout', files.key, '-out', files.cert],
    ]);
    return new Authority(directory, files);
  }

  /** The CA's own certificate: what others trust. */
  get cert(): string {
    return this.files.cert;
  }

  /** Signs a certificate for servers and clients with these names, like `IP:127.0.0.1,DNS:localhost`. */
  async issue(name: string, subjectAltName: string, days = 2): Promise<CertificateFiles> {
    const path = (suffix: string) => join(this.directory, `${name}-${this.#count}.${suffix}`);
    this.#count++;
    const [key, request, extensions, cert] = ['key', 'csr', 'ext', 'crt'].map(path) as [
      string,
      string,
      string,
      string,
    ];
    await run('openssl', ['req', ...NEW_KEY, '-subj', `/CN=${name}`, '-keyout', key, '-out', request]);
    await writeFile(extensions, `subjectAltName=${subjectAltName}\nextendedKeyUsage=serverAuth,clientAuth\n`);
    await run('openssl', [
      ...['x509', '-req', '-in', request, '-CA', this.files.cert, '-CAkey', this.files.key],
      ...['-CAcreateserial', '-days', String(days), '-extfile', extensions, '-out', cert],
    ]);
    return { cert, key };
  }

  /** A list of revoked certificates with these in it. */
  async revoke(certificates: readonly string[]): Promise<string> {
    const [config, list, revoked] = ['revoke.cnf', 'revoked', 'revoked.crl'].map((name) =>
      join(this.directory, name),
    ) as [string, string, string];
    await writeFile(list, '');
    const lines = [
      '[ca]',
      'default_ca=this',
      '[this]',
      `database=${list}`,
      'default_md=sha256',
      'default_crl_days=2',
    ];
    await writeFile(config, lines.join('\n') + '\n');
    const ca = ['ca', '-config', config, '-cert', this.files.cert, '-keyfile', this.files.key];
    for (const certificate of certificates) await run('openssl', [...ca, '-revoke', certificate]);
    await run('openssl', [...ca, '-gencrl', '-out', revoked]);
    return revoked;
  }

  async destroy(): Promise<void> {
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** TLS for the lab's etcd: files that stay where they are while what is in them is renewed. */
import { copyFileSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Authority, type CertificateFiles } from '../certificates';

export class EtcdTls {
  /** Whom agents, etcdctl and etcd trust. */
  readonly caFile: string;
  readonly revokedFile: string;
  readonly server: CertificateFiles;
  readonly client: CertificateFiles;
  #authority: Authority;
  #clients: string[] = [];
  #authorities = 1;

  private constructor(
    private readonly directory: string,
    authority: Authority,
    private readonly names: string,
  ) {
    const path = (name: string) => join(directory, name);
    this.#authority = authority;
    this.caFile = path('ca.pem');
    this.revokedFile = path('revoked.pem');
    this.server = { cert: path('server.pem'), key: path('server.key') };
    this.client = { cert: path('client.pem'), key: path('client.key') };
  }

  /** A CA, a certificate for servers at these addresses, one for all clients; nobody is revoked. */
  static async create(directory: string, addresses: readonly string[]): Promise<EtcdTls> {
    const names = addresses.map((address) => `IP:${address}`).join(',');
    const tls = new EtcdTls(directory, await newAuthority(directory, 1), names);
    tls.trust([tls.#authority]);
    await tls.renew();
    await tls.revoke([]);
    return tls;
  }

  get authority(): Authority {
    return this.#authority;
  }

  /** Another CA, which signs from now on; whom it is to be trusted by must be told. */
  async newAuthority(): Promise<Authority> {
    this.#authority = await newAuthority(this.directory, ++this.#authorities);
    return this.#authority;
  }

  /** Puts these CAs, and no others, into the file of those that are trusted. */
  trust(authorities: readonly Authority[]): void {
    replace(this.caFile, authorities.map(({ cert }) => readFileSync(cert, 'utf8')).join(''));
  }

  /** Certificates with keys of their own in the place of those there are, as a program that renews them would put them. */
  async renew(): Promise<void> {
    const server = await this.#authority.issue('server', this.names);
    const client = await this.#authority.issue('client', 'DNS:client');
    this.#clients.push(client.cert);
    for (const [from, to] of [
      [server, this.server],
      [client, this.client],
    ] as const)
      for (const part of ['cert', 'key'] as const) replace(to[part], readFileSync(from[part], 'utf8'));
  }

  /** The client certificate of this moment, as somebody might keep it. */
  copyOfClient(): CertificateFiles {
    const copy = { cert: join(this.directory, 'old.pem'), key: join(this.directory, 'old.key') };
    for (const part of ['cert', 'key'] as const) copyFileSync(this.client[part], copy[part]);
    return copy;
  }

  /** From now on all client certificates but the last are refused. */
  revokeOlder(): Promise<void> {
    return this.revoke(this.#clients.slice(0, -1));
  }

  private async revoke(certificates: readonly string[]): Promise<void> {
    copyFileSync(await this.#authority.revoke(certificates), this.revokedFile);
  }
}

async function newAuthority(directory: string, number: number): Promise<Authority> {
  const place = join(directory, `ca-${number}`);
  mkdirSync(place, { recursive: true });
  return Authority.create(`lab CA ${number}`, place);
}

function replace(path: string, text: string): void {
  writeFileSync(`${path}.new`, text, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

/** TLS in front of a server without: what certificate each client shows is seen here, and nowhere else. */
import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { connect, type AddressInfo } from 'node:net';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import type { CertificateFiles } from './certificates';

/** Of the certificate: what {@link TlsGate.seen} has. */
export async function fingerprintOf({ cert }: CertificateFiles): Promise<string> {
  return new X509Certificate(await readFile(cert)).fingerprint256;
}

export class TlsGate {
  /** The fingerprint of the client's certificate, for each connection that was let in. */
  readonly seen: string[] = [];
  readonly #sockets = new Set<TLSSocket>();

  private constructor(private readonly server: Server) {}

  /** Lets in who shows a certificate that `clientCa` has signed. */
  static async start(
    targetPort: number,
    files: CertificateFiles & { readonly clientCa: string },
  ): Promise<TlsGate> {
    const [cert, key, ca] = await Promise.all(
      [files.cert, files.key, files.clientCa].map((file) => readFile(file)),
    );
    const options = { cert, key, ca, requestCert: true, rejectUnauthorized: true, ALPNProtocols: ['h2'] };
    const server = createServer(options, (socket) => gate.#accept(socket, targetPort));
    const gate = new TlsGate(server);
    // Who is not let in hears of it by TLS.
    server.on('tlsClientError', () => undefined);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return gate;
  }

  get url(): string {
    return `https://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  get openCount(): number {
    return this.#sockets.size;
  }

  close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    for (const socket of this.#sockets) socket.destroy();
    return closed;
  }

  #accept(client: TLSSocket, targetPort: number): void {
    this.seen.push(client.getPeerCertificate().fingerprint256);
    this.#sockets.add(client);
    const target = connect(targetPort, '127.0.0.1');
    for (const [one, other] of [
      [client, target],
      [target, client],
    ] as const) {
      one.on('error', () => undefined);
      one.on('close', () => other.destroy());
      one.pipe(other);
    }
    client.on('close', () => this.#sockets.delete(client));
  }
}

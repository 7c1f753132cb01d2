/** A TCP proxy on loopback that does to connections what networks do. */
import { connect, createServer, type Server, type Socket } from 'node:net';

interface Pair {
  readonly client: Socket;
  readonly server: Socket;
}

/** Forwards to one target until told otherwise. */
export class TcpProxy {
  readonly #pairs = new Set<Pair>();
  #server: Server | undefined;
  #refusing = false;
  #paused = false;
  #delayMilliseconds = 0;
  /** Bytes still let through towards the client before its connection is cut. */
  #allowance: number | undefined;
  #swallowing = false;
  #acceptedCount = 0;
  #passedBytes = 0;

  private constructor(
    readonly targetPort: number,
    readonly targetHost: string,
  ) {}

  static async start(targetPort: number, targetHost = '127.0.0.1'): Promise<TcpProxy> {
    const proxy = new TcpProxy(targetPort, targetHost);
    const server = createServer((client) => proxy.#accept(client));
    proxy.#server = server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(0, '127.0.0.1', resolve);
    });
    return proxy;
  }

  get port(): number {
    return (this.#server!.address() as { port: number }).port;
  }

  get connectionCount(): number {
    return this.#pairs.size;
  }

  /** So many connections were there since the start. */
  get acceptedCount(): number {
    return this.#acceptedCount;
  }

  /** So many bytes have passed towards clients since the start. */
  get passedBytes(): number {
    return this.#passedBytes;
  }

  /** Breaks all connections; new ones are welcome. */
  cut(): void {
    this.#swallowing = false;
    for (const pair of this.#pairs) this.#end(pair);
  }

  /** Breaks all connections, and every new one at once. */
  refuse(isRefusing = true): void {
    this.#refusing = isRefusing;
    if (isRefusing) this.cut();
  }

  /** A black hole: connections stay open and new ones are accepted, but no byte passes. */
  pause(): void {
    this.#paused = true;
    for (const { client, server } of this.#pairs) {
      client.pause();
      server.pause();
    }
  }

  resume(): void {
    this.#paused = false;
    for (const { client, server } of this.#pairs) {
      client.resume();
      server.resume();
    }
  }

  /** Every chunk is passed on so much later, in both directions. */
  slow(milliseconds: number): void {
    this.#delayMilliseconds = milliseconds;
  }

  /** Lets so many bytes more through to clients, then cuts all connections, once. */
  cutAfter(bytes: number): void {
    this.#allowance = bytes;
  }

  /** From now on requests are heard and answers are lost, until all connections are {@link cut}. */
  swallowAnswers(): void {
    this.#swallowing = true;
  }

  async close(): Promise<void> {
    const server = this.#server!;
    const closed = new Promise((resolve) => server.close(resolve));
    this.cut();
    await closed;
  }

  #accept(client: Socket): void {
    this.#acceptedCount++;
    if (this.#refusing) {
      client.resetAndDestroy();
      return;
    }
    const server = connect(this.targetPort, this.targetHost);
    const pair = { client, server };
    this.#pairs.add(pair);
    for (const socket of [client, server]) {
      socket.setNoDelay(true);
      socket.on('error', () => undefined);
      socket.on('close', () => this.#end(pair));
    }
    client.on('data', (chunk) => this.#pass(chunk, server));
    server.on('data', (chunk) => this.#passToClient(chunk, pair));
    if (this.#paused) {
      client.pause();
      server.pause();
    }
  }

  #passToClient(chunk: Buffer, pair: Pair): void {
    if (this.#swallowing) return;
    this.#passedBytes += chunk.length;
    if (this.#allowance === undefined) return this.#pass(chunk, pair.client);
    const rest = this.#allowance - chunk.length;
    if (rest >= 0) {
      this.#allowance = rest;
      return this.#pass(chunk, pair.client);
    }
    pair.client.write(chunk.subarray(0, this.#allowance), () => this.cut());
    this.#allowance = undefined;
  }

  #pass(chunk: Buffer, to: Socket): void {
    if (this.#delayMilliseconds === 0) {
      to.write(chunk);
      return;
    }
    setTimeout(() => to.write(chunk), this.#delayMilliseconds);
  }

  #end(pair: Pair): void {
    this.#pairs.delete(pair);
    pair.client.resetAndDestroy();
    pair.server.resetAndDestroy();
  }
}

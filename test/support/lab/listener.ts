/** Hears UDP datagrams in a namespace, and says where they come from. */
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Namespace } from './namespace';
import { until } from './until';

const PROGRAM = `
  const socket = require('node:dgram').createSocket('udp4');
  socket.on('message', (_, { address }) => console.log(address));
  socket.bind(Number(process.argv[1]), () => console.log('ready'));
`;

export class Listener {
  readonly #heard: string[] = [];

  private constructor(private readonly child: ChildProcess) {
    createInterface({ input: child.stdout! }).on('line', (line) => this.#heard.push(line));
  }

  static async start(namespace: Namespace, port: number): Promise<Listener> {
    const args = ['-e', PROGRAM, String(port)];
    const listener = new Listener(
      namespace.start(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] }),
    );
    await until('the listener is there', () => listener.#heard.includes('ready'));
    return listener;
  }

  /** The sources of all datagrams so far. */
  get heard(): string[] {
    return this.#heard.filter((line) => line !== 'ready');
  }

  end(): void {
    this.child.kill('SIGKILL');
  }
}

/** Sends datagrams from a namespace, each by an address of its own; returns when all are sent. */
export async function sendDatagrams(
  namespace: Namespace,
  to: { readonly address: string; readonly port: number },
  datagrams: readonly { readonly from: string; readonly hex: string }[],
): Promise<void> {
  const program = `
    const { createSocket } = require('node:dgram');
    const [to, datagrams] = JSON.parse(process.argv[1]);
    (async () => {
      for (const { from, hex } of datagrams) {
        const socket = createSocket('udp4');
        await new Promise((resolve) => socket.bind({ address: from }, resolve));
        await new Promise((resolve) => socket.send(Buffer.from(hex, 'hex'), to.port, to.address, resolve));
        socket.close();
      }
    })();
  `;
  await namespace.run(process.execPath, ['-e', program, JSON.stringify([to, datagrams])]);
}

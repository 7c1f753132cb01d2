/** The kernel's netlink with a script beside it: something happens just before the n-th thing that is asked or heard. */
import { openRequestSocket, type RequestSocket } from '../../native';
import { Rtnetlink } from '../../src/kernel/rtnetlink';

/** `steps` counts what was sent and received so far, this one included. */
export type Script = (step: 'send' | 'receive', steps: number) => void;

class ScriptedSocket implements RequestSocket {
  #steps = 0;

  constructor(
    private readonly inner: RequestSocket,
    private readonly script: Script,
  ) {}

  get portId(): number {
    return this.inner.portId;
  }

  send(messages: Uint8Array): void {
    this.script('send', ++this.#steps);
    this.inner.send(messages);
  }

  receive(): Buffer {
    this.script('receive', ++this.#steps);
    return this.inner.receive();
  }

  interfaceIndex(name: string): number {
    return this.inner.interfaceIndex(name);
  }

  close(): void {
    this.inner.close();
  }
}

/** What `use` makes of such a netlink. */
export async function withScriptedNetlink<T>(
  script: Script,
  use: (netlink: Rtnetlink) => Promise<T>,
): Promise<T> {
  const options = { protocol: 0, receiveBufferBytes: 4 << 20, timeoutMilliseconds: 60_000 };
  const netlink = new Rtnetlink(new ScriptedSocket(openRequestSocket(options), script));
  try {
    return await use(netlink);
  } finally {
    netlink.close();
  }
}

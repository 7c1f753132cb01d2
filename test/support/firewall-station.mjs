/**
 * Asks others by UDP which address they see it come from, and answers when asked; one process for each namespace of the lab.
 * Arguments: ports to answer on, then `kind group interface` for groups to hear. Reads questions as JSON lines
 * ({ id, kind, from, to, port, group }; with `hex`, bytes to send as they are), prints answers ({ id, answer }), `{ heard, kind }` for what groups said, and first
 * `{ ready: true }`.
 */
import { Buffer } from 'node:buffer';
import dgram from 'node:dgram';
import { createInterface } from 'node:readline';
import { clearTimeout, setTimeout } from 'node:timers';

const ANSWER_MILLISECONDS = 400;
const print = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
const [ports, ...memberships] = process.argv.slice(2);

const listening = ['udp4', 'udp6'].flatMap((kind) =>
  ports.split(',').map((port) => {
    const socket = dgram.createSocket({ type: kind, reuseAddr: true, ipv6Only: kind === 'udp6' });
    socket.on('message', (message, { address, port: from }) => {
      if (String(message) === 'group') print({ heard: address, kind });
      else socket.send(address, from, address);
    });
    return new Promise((resolve) =>
      socket.bind(Number(port), () => {
        for (let i = 0; i < memberships.length; i += 3) {
          if (memberships[i] === kind) socket.addMembership(memberships[i + 1], memberships[i + 2]);
        }
        resolve();
      }),
    );
  }),
);

function ask({ id, kind, from, to, port, group, hex }) {
  const socket = dgram.createSocket(kind);
  const timer = setTimeout(() => end('no answer'), ANSWER_MILLISECONDS);
  const end = (answer) => {
    clearTimeout(timer);
    socket.close();
    print({ id, answer });
  };
  socket.on('message', (answer) => end(String(answer)));
  socket.on('error', (error) => end(error.code));
  socket.bind({ address: from }, () => {
    if (group) socket.setMulticastInterface(group);
    const message = hex ? Buffer.from(hex, 'hex') : group ? 'group' : 'who';
    socket.send(message, port, to, () => (group || hex) && end('sent'));
  });
}

await Promise.all(listening);
print({ ready: true });
createInterface(process.stdin)
  .on('line', (line) => ask(JSON.parse(line)))
  .on('close', () => process.exit());

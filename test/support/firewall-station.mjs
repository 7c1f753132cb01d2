/**
 * Asks others by UDP which address they see it come from, and answers when asked; one process for each namespace of the lab.
 * Arguments: ports to answer on, then `kind group interface` for groups to hear. Reads questions as JSON lines
 * ({ id, kind, from, to, port, group }; with `hex`, bytes to send as they are), prints answers ({ id, answer }), `{ heard, kind }` for what groups said, and first
 * `{ ready: true }`. It waits for the answer to a question until `{ id, forget }` names it; `{ id, turn: true }` is answered when all
 * that had arrived before has been read, and what was asked before has been sent.
 */
import { Buffer } from 'node:buffer';
import dgram from 'node:dgram';
import { createInterface } from 'node:readline';
import { setImmediate } from 'node:timers/promises';

const print = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
const [ports, ...memberships] = process.argv.slice(2);

const listening = ['udp4', 'udp6'].flatMap((kind) =>
  ports.split(',').map((port) => {
    const socket = dgram.createSocket({ type: kind, reuseAddr: true, ipv6Only: kind === 'udp6' });
    socket.on('message', (message, { address, port: from }) => {
      if (String(message) === 'group') print({ heard: address, kind });
      // One that may not be sent is one that never comes.
      else socket.send(address, from, address, () => undefined);
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

const waiting = new Map();
/** Questions on their way out: a socket is bound, and its message sent, some time after it was made. */
const sending = new Set();

function ask({ id, kind, from, to, port, group, hex }) {
  const socket = dgram.createSocket(kind);
  waiting.set(id, socket);
  const answer = (text) => print({ id, answer: text });
  socket.on('message', (message) => answer(String(message)));
  const sent = new Promise((resolve) => {
    socket.on('error', (error) => resolve(answer(error.code)));
    socket.bind({ address: from }, () => {
      if (group) socket.setMulticastInterface(group);
      const message = hex ? Buffer.from(hex, 'hex') : group ? 'group' : 'who';
      socket.send(message, port, to, () => resolve((group || hex) && answer('sent')));
    });
  });
  sending.add(sent);
  void sent.then(() => sending.delete(sent));
}

async function obey(order) {
  if (order.forget !== undefined) {
    await Promise.all(sending);
    waiting.get(order.forget).close();
    waiting.delete(order.forget);
  } else if (order.turn) {
    await Promise.all(sending);
    for (let turn = 0; turn < 3; turn++) await setImmediate();
  } else return ask(order);
  print({ id: order.id, answer: 'done' });
}

await Promise.all(listening);
print({ ready: true });
createInterface(process.stdin)
  .on('line', (line) => void obey(JSON.parse(line)))
  .on('close', () => process.exit());

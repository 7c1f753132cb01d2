/** Another process that sends datagrams of its own to a netlink port or group, as anybody with CAP_NET_ADMIN can. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';

const PROGRAM = `
import os, socket, sys
port, groups, count = (int(word) for word in sys.argv[1:4])
sender = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
sender.bind((0, 0))
# A message that would pass for an answer with sequence number 1, then noise of all lengths.
datagrams = [bytes.fromhex('1400000002000000010000000000000000000000') + bytes(16)]
datagrams += [os.urandom(length) for length in list(range(1, 64)) + [1000, 70000, 200000]]
done = 0
while done < count:
    for datagram in datagrams:
        try:
            # Only to the port or only to the group: the kernel itself is port 0 and gets what is sent to a group too.
            sender.sendto(datagram, socket.MSG_DONTWAIT, (port, groups))
        except OSError:
            pass
        done += 1
        if done == count: break
`;

/** Sends that many datagrams. Groups are a bit mask; port 0 with groups goes to the groups (and the kernel). */
export async function sendForeign(to: { port?: number; groups?: number }, count: number): Promise<void> {
  const child = spawn(
    'python3',
    ['-c', PROGRAM, String(to.port ?? 0), String(to.groups ?? 0), String(count)],
    {
      stdio: ['ignore', 'inherit', 'inherit'],
    },
  );
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code !== 0) throw new Error(`the foreign sender ended with ${code}`);
}

/** Sends that one datagram to the groups of that bit mask. */
export async function sendDatagram(groups: number, datagram: Uint8Array): Promise<void> {
  const program = [
    'import socket, sys',
    'sender = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)',
    'sender.bind((0, 0))',
    'sender.sendto(bytes.fromhex(sys.argv[2]), (0, int(sys.argv[1])))',
  ].join('\n');
  const args = ['-c', program, String(groups), Buffer.from(datagram).toString('hex')];
  const child = spawn('python3', args, { stdio: ['ignore', 'inherit', 'inherit'] });
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code !== 0) throw new Error(`the foreign sender ended with ${code}`);
}

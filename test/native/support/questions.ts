/** A link whose kernel asks user space for its neighbors, and what becomes of its questions. */
import { execFileSync, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync, readdirSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Answerer } from '../../../native';
import { until } from '../../support/lab/until';

const tool = (line: string): string => {
  const [command, ...args] = line.split(' ');
  return execFileSync(command!, args, { encoding: 'utf8' });
};

/**
 * Makes a VXLAN device with 10.0.0.0/8 behind it, and returns its index. `asks`: so often, once a second, before the kernel gives
 * up. `flags`: more words for ip-link(8).
 */
export function addAskingLink(name: string, { asks = 60, flags = '' } = {}): number {
  tool(`ip link add ${name} type vxlan id 77 local 127.0.0.1 dstport 8477 nolearning${flags}`);
  tool(`ip link set ${name} up addrgenmode none`);
  const settings = [`app_solicit=${asks}`, 'mcast_solicit=0', 'ucast_solicit=0'];
  for (const setting of settings) tool(`sysctl -qw net/ipv4/neigh/${name}/${setting}`);
  tool(`ip addr add 10.255.255.255/32 dev ${name}`);
  tool(`ip route add 10.0.0.0/8 dev ${name}`);
  const [link] = JSON.parse(tool(`ip -j link show dev ${name}`)) as [{ ifindex: number }];
  return link.ifindex;
}

/** Sends a packet to each address: the kernel has asked for all of them when this resolves. */
export async function ask(...addresses: string[]): Promise<void> {
  const socket = createSocket('udp4');
  for (const address of addresses)
    await new Promise<void>((resolve, reject) => {
      socket.send('x', 9, address, (error) => (error ? reject(error) : resolve()));
    });
  socket.close();
}

/** The threads of this process by that name. */
export function threadsNamed(name: string): string[] {
  return readdirSync('/proc/self/task').filter(
    (thread) => readFileSync(`/proc/self/task/${thread}/comm`, 'utf8').trim() === name,
  );
}

/** Bytes that wait to be read by the netlink socket of that port, and datagrams that found no room. */
function queueOf(portId: number): { waiting: number; dropped: number } {
  for (const line of readFileSync('/proc/self/net/netlink', 'utf8').split('\n')) {
    const [, protocol, port, , waiting, , , , dropped] = line.trim().split(/\s+/);
    if (protocol === '0' && Number(port) === portId)
      return { waiting: Number(waiting), dropped: Number(dropped) };
  }
  throw new Error(`no netlink socket has port ${portId}`);
}

/** Resolves when the only answerer there is has worked off all questions that were asked before. */
export async function settled({ portId }: Answerer): Promise<void> {
  const [thread] = threadsNamed('answerer');
  const isSleeping = () => / S /.test(readFileSync(`/proc/self/task/${thread}/stat`, 'utf8'));
  // What has been taken from the queue is worked off when the thread sleeps again.
  await until('the thread has nothing to do', () => queueOf(portId).waiting === 0 && isSleeping(), {
    everyMilliseconds: 2,
  });
  if (queueOf(portId).dropped > 0) throw new Error('the thread lost questions');
}

export interface KnownNeighbor {
  readonly dst: string;
  readonly lladdr?: string;
  readonly state: readonly string[];
  readonly extern_learn?: null;
}

export function neighborsOn(link: string): KnownNeighbor[] {
  return JSON.parse(tool(`ip -4 -j neigh show dev ${link}`)) as KnownNeighbor[];
}

/** The MAC that each address leads to, of those that were answered. */
export function answersOn(link: string): Map<string, string> {
  return new Map(neighborsOn(link).flatMap(({ dst, lladdr }) => (lladdr ? [[dst, lladdr]] : [])));
}

/** `MAC address` of each FDB entry, in order. */
export function fdbOf(link: string): string[] {
  const entries = JSON.parse(tool(`bridge -j fdb show dev ${link}`)) as { mac: string; dst?: string }[];
  return entries.flatMap(({ mac, dst }) => (dst ? [`${mac} ${dst}`] : [])).sort();
}

const HOLDER = `
import ctypes, os, sys
ptrace = ctypes.CDLL(None, use_errno=True).ptrace
ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
thread = int(sys.argv[1])
def call(request):
    if ptrace(request, thread, None, None) != 0: raise OSError(ctypes.get_errno(), 'ptrace')
call(0x4206)  # PTRACE_SEIZE
call(0x4207)  # PTRACE_INTERRUPT
os.waitpid(thread, 0x40000000)  # __WALL
print('held', flush=True)
sys.stdin.read()
call(17)  # PTRACE_DETACH
`;

/** Stops one thread of this process, as a debugger does, until the function that it resolves with is called. */
export async function hold(thread: string): Promise<() => Promise<void>> {
  const holder = spawn('python3', ['-c', HOLDER, thread], { stdio: ['pipe', 'pipe', 'inherit'] });
  const [said] = (await once(createInterface(holder.stdout), 'line')) as [string];
  if (said !== 'held') throw new Error(`the holder said ${said}`);
  return async () => {
    const exit = once(holder, 'exit');
    holder.stdin.end();
    const [code] = (await exit) as [number | null];
    if (code !== 0) throw new Error(`the holder ended with ${code}`);
  };
}

const ARP = `
import socket, sys
link, target = sys.argv[1], socket.inet_aton(sys.argv[2])
sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
sender.bind((link, 0x0806))
own = bytes.fromhex('020000000001')
request = bytes.fromhex('0001080006040001') + own + socket.inet_aton('10.255.255.254') + bytes(6) + target
sender.send(b'\\xff' * 6 + own + bytes.fromhex('0806') + request)
`;

/** Sends an ARP request through the device, as a bridge does for somebody else. */
export function sendArpRequest(link: string, target: string): void {
  execFileSync('python3', ['-c', ARP, link, target]);
}

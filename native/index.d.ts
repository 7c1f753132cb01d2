/** What Node cannot do itself, and only that. Plain C, N-API; each export names the system calls it makes. */

/**
 * An error thrown by any export: `code` is the errno name (`EPERM`), `errno` its negative number, `syscall` the call that failed, as
 * in Node's own system errors. Arguments of a wrong type or range are a TypeError or RangeError with Node's codes for those.
 */
export interface NativeError extends Error {
  readonly code: string;
  readonly errno: number;
  readonly syscall: string;
}

/** A netlink socket for requests and the kernel's answers; what other processes send to it is dropped. socket(2) AF_NETLINK. */
export interface RequestSocket {
  /** The nl_pid the kernel gave us: what our own changes carry in notifications. */
  readonly portId: number;
  /** Sends one datagram, which may hold many messages. The kernel has executed them when this returns. sendto(2). */
  send(messages: Uint8Array): void;
  /**
   * Waits for the next answer and takes with it all that is there already, up to about 64 KiB: whole netlink messages, one
   * after the other, each aligned to 4 bytes. recvfrom(2). Throws with code EAGAIN after `timeoutMilliseconds` without an
   * answer, ENOBUFS when answers were lost.
   */
  receive(): Buffer;
  /**
   * The index of the interface of that name in the socket's network namespace; 0 when there is none. Alternative names do not
   * count. ioctl(2) SIOCGIFINDEX, SIOCGIFNAME: some microseconds, where RTM_GETLINK takes tens and waits for the kernel's
   * network configuration lock.
   */
  interfaceIndex(name: string): number;
  /** close(2). A second call does nothing; the other methods throw EBADF afterwards. */
  close(): void;
}

/**
 * Opens a request socket with NETLINK_EXT_ACK, NETLINK_CAP_ACK and NETLINK_GET_STRICT_CHK, and a receive buffer of that
 * size by SO_RCVBUFFORCE (SO_RCVBUF without CAP_NET_ADMIN). Protocol 0 is NETLINK_ROUTE, 16 NETLINK_GENERIC.
 */
export function openRequestSocket(options: {
  protocol: number;
  receiveBufferBytes: number;
  timeoutMilliseconds: number;
}): RequestSocket;

/** A netlink socket that listens to multicast groups from Node's event loop. */
export interface Monitor {
  /** Keeps the process alive (as at first), or not. */
  ref(): void;
  unref(): void;
  /** Stops; the callback is not called again. A second call does nothing. */
  close(): void;
}

/**
 * Listens to rtnetlink multicast groups (by number: RTNLGRP_NEIGH is 3, …). The callback gets whole messages, as many as were
 * waiting up to about 64 KiB, or null and `overrun` true when the kernel had to drop some; an exception thrown by it becomes an
 * uncaughtException. An overrun never ends the monitor. What other processes send to the groups is not reported. `filter` is
 * a classic BPF program ([code, jt, jf, k] each) that the kernel runs on every datagram: SO_ATTACH_FILTER. Throws if a group
 * cannot be joined.
 */
export function openMonitor(
  options: {
    protocol: number;
    groups: readonly number[];
    receiveBufferBytes: number;
    filter?: readonly (readonly [code: number, jt: number, jf: number, k: number])[];
  },
  callback: (messages: Buffer | null, overrun: boolean) => void,
): Monitor;

/** A thread that answers L3 misses of IPv4 for the subnets it was told of: also while JavaScript runs, collects or waits. */
export interface Answerer {
  /** The nl_pid of its socket: what its changes to neighbors carry in notifications. */
  readonly portId: number;
  /**
   * From now on it answers for these subnets; the longest that holds an address counts. 16 bytes for each: its address (4 bytes, in
   * network byte order, no host bits), its prefix length, a byte of no meaning, the MAC (6), and the address (4) to send to.
   */
  put(records: Uint8Array): void;
  /** When this returns, no answer for these subnets is under way, and none will be. Of each record the subnet counts. */
  remove(records: Uint8Array): void;
  /** When this returns, no answer is under way, and none will be until {@link resume}. Whoever asks meanwhile is not answered later. */
  pause(): void;
  resume(): void;
  /** Ends the thread. A second call does nothing; put and remove throw EBADF afterwards. */
  close(): void;
}

/**
 * Answers RTM_GETNEIGH (state NUD_INCOMPLETE) about the interface of that name in this network namespace, whatever its index, with
 * an FDB entry (permanent, self) and then the neighbor that was asked for (reachable, extern_learn), which is not made anew: one
 * datagram, sendto(2), and no acknowledgement. What it cannot do is not reported: whoever listens to RTNLGRP_NEIGH
 * hears of each question as well. pthread_create(3), eventfd(2), ioctl(2) SIOCGIFNAME.
 */
export function openAnswerer(interfaceName: string): Answerer;

/**
 * Sends one datagram to the socket that systemd names in NOTIFY_SOCKET (a path, or `@` and an abstract name): sendto(2) AF_UNIX.
 * Throws ENAMETOOLONG above 107 bytes of path, EAGAIN when the receiver's queue stays full for a second.
 */
export function sdNotify(socketPath: string, text: string): void;

/**
 * Opens (creating it, mode 0600; never by way of a link) and locks a file for this process's life: open(2), flock(2) LOCK_EX|LOCK_NB. Returns its
 * descriptor, or -1 if the lock is held: by another process, or by this one through another descriptor.
 */
export function lockFile(path: string): number;

/**
 * Raises or lowers one ambient capability (by number: CAP_NET_ADMIN is 12) of the thread that calls: a program it starts
 * while that is lowered does not inherit it. prctl(2) PR_CAP_AMBIENT. Throws EPERM for one that is not permitted and inheritable.
 */
export function setAmbient(capability: number, raised: boolean): void;

/**
 * Lets the threads that this process has now, besides the one that calls, give way: they do not interrupt when they wake up
 * (SCHED_BATCH), and have that nice value (0 to 19). opendir(3) /proc/self/task, sched_setscheduler(2), setpriority(2).
 */
export function demoteHelpers(nice: number): void;

/** How a program ended, or that it never ran. */
export interface ProgramEnd {
  /** The errno name for a program that could not be started (ENOENT, EACCES, EMFILE, …), and the call that failed. */
  readonly error?: string;
  readonly syscall?: string;
  /** Its exit status, or 128 and the number of the signal that ended it. */
  readonly status: number;
  /** True if we killed it: it was cancelled, took too long, or printed too much. */
  readonly killed: boolean;
  readonly stdout: Buffer;
  readonly stderr: Buffer;
}

/**
 * Runs a program to its end on a thread of Node's pool: Node's own spawn forks, and the event loop stands still for the 3 to 30 ms
 * in which the kernel copies the page tables of this process. `env` has the form `NAME=value`; its PATH is where args[0] is looked
 * for. `input` is what its standard input says. The callback is called once, not before this returns; the function returned kills
 * the program, and does nothing after its end. posix_spawn(3), poll(2), pidfd_open(2), waitpid(2).
 */
export function runProgram(
  options: {
    args: readonly string[];
    env: readonly string[];
    input: string;
    timeoutMilliseconds: number;
    mostOutputBytes: number;
  },
  callback: (end: ProgramEnd) => void,
): () => void;

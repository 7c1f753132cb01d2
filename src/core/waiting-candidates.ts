/** The candidates that yielded, kept in rooms: those of one room wait for the same, so that its first one alone need be judged again. */
import { printSubnet, type IpAddress } from '../model/address';
import { compareRank, type Candidate } from './candidate';
import { PriorityQueue } from './priority-queue';
import { SetsByKey } from './sets-by-key';

/** Candidates of exactly one subnet that yield to one which overlaps it; or of one VTEP MAC, which is accepted at another place. */
export class Room {
  readonly #members = new Map<string, Candidate>();
  readonly #byPublicIp = new SetsByKey<IpAddress, string>();
  /** Also of members that have left, or were replaced. */
  #queue = new PriorityQueue<Candidate>(compareRank);
  /** The name of the accepted candidate that the first one yields to, and so all of them. */
  winner: string | undefined;

  constructor(readonly kind: 'subnet' | 'mac') {}

  get size(): number {
    return this.#members.size;
  }

  get names(): Iterable<string> {
    return this.#members.keys();
  }

  /** The one of the highest rank. */
  get first(): Candidate | undefined {
    for (;;) {
      const { first } = this.#queue;
      if (!first || this.#members.get(first.name) === first) return first;
      this.#queue.pop();
    }
  }

  /** Those of one PublicIP. */
  at(publicIp: IpAddress): string[] {
    return [...this.#byPublicIp.of(publicIp)];
  }

  add(candidate: Candidate): void {
    this.#members.set(candidate.name, candidate);
    this.#byPublicIp.add(candidate.peer.publicIp, candidate.name);
    // One that changes again and again must not fill the queue.
    if (this.#queue.size > 2 * this.size) this.#sweep();
    this.#queue.push(candidate);
  }

  delete({ name, peer }: Candidate): void {
    this.#members.delete(name);
    this.#byPublicIp.drop(peer.publicIp, name);
  }

  #sweep(): void {
    this.#queue = new PriorityQueue<Candidate>(compareRank);
    for (const member of this.#members.values()) this.#queue.push(member);
  }
}

/** Owns the rooms. None of them is empty. */
export class WaitingCandidates {
  readonly #rooms = { subnet: new Map<string, Room>(), mac: new Map<string, Room>() };
  readonly #roomOf = new Map<string, Room>();
  /** By the name of the accepted candidate that they yield to. */
  readonly #byWinner = new Map<string, Set<Room>>();

  /** The room of a candidate that waits. */
  roomOf(name: string): Room | undefined {
    return this.#roomOf.get(name);
  }

  /** The rooms in which a candidate would wait. */
  roomsFor(candidate: Candidate): Room[] {
    if (this.#roomOf.size === 0) return [];
    const { subnet, mac } = this.#rooms;
    const rooms = [subnet.get(printSubnet(candidate.peer.subnet)), mac.get(candidate.peer.vtepMac)];
    return rooms.filter((room) => room !== undefined);
  }

  /** The rooms whose candidates yield to this accepted one. */
  roomsOfWinner(name: string): Room[] {
    return [...(this.#byWinner.get(name) ?? [])];
  }

  /** Those of this VTEP MAC and PublicIP that wait because the MAC is accepted at another place. */
  byMacAt({ vtepMac, publicIp }: Candidate['peer']): string[] {
    return this.#rooms.mac.get(vtepMac)?.at(publicIp) ?? [];
  }

  /** It yields to `winner`, by its subnet or its VTEP MAC. */
  add(candidate: Candidate, kind: Room['kind'], winner: Candidate): void {
    const key = keyOf(candidate, kind);
    const room = this.#rooms[kind].get(key) ?? new Room(kind);
    this.#rooms[kind].set(key, room);
    room.add(candidate);
    this.#roomOf.set(candidate.name, room);
    if (room.first === candidate) this.yieldTo(room, winner.name);
  }

  /** Nothing happens if it does not wait. */
  remove(candidate: Candidate): void {
    const room = this.#roomOf.get(candidate.name);
    if (!room) return;
    room.delete(candidate);
    this.#roomOf.delete(candidate.name);
    if (room.size > 0) return;
    this.yieldTo(room, undefined);
    this.#rooms[room.kind].delete(keyOf(candidate, room.kind));
  }

  /** From now on the candidates of a room yield to this accepted one. */
  yieldTo(room: Room, winner: string | undefined): void {
    if (room.winner === winner) return;
    if (room.winner !== undefined) {
      const rooms = this.#byWinner.get(room.winner)!;
      rooms.delete(room);
      if (rooms.size === 0) this.#byWinner.delete(room.winner);
    }
    room.winner = winner;
    if (winner === undefined) return;
    const rooms = this.#byWinner.get(winner) ?? new Set();
    this.#byWinner.set(winner, rooms.add(room));
  }
}

function keyOf({ peer }: Candidate, kind: Room['kind']): string {
  return kind === 'subnet' ? printSubnet(peer.subnet) : peer.vtepMac;
}

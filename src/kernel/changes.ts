/** Operations as netlink requests, carried out at once. */
import { keyOf, type KernelObject, type Link } from '../model/kernel-state';
import { printOperation, type FailedOperation, type Operation } from '../model/operation';
import type { OwnPlaces } from '../model/ownership';
import { writeAddress, writeAddressRemoval } from './addresses';
import { LinkChanges, NO_SUCH_LINK } from './link-changes';
import type { MessageWriter } from './message-writer';
import { writeNeighborParameters } from './neighbor-parameters';
import { writeFdbEntry, writeFdbRemoval, writeNeighbor, writeNeighborRemoval } from './neighbors';
import { errnoName, kernelErrorOf, type NetlinkError } from './netlink-error';
import { putBehind } from './route-places';
import { writeRoute, writeRouteRemoval } from './routes';
import type { Rtnetlink } from './rtnetlink';
import type { Subscription } from './subscription';

/** How the kernel says that what should be removed is not there. */
const ABSENT: ReadonlySet<string> = new Set(['ENOENT', 'ESRCH', 'ENODEV', 'ENXIO', 'EADDRNOTAVAIL']);

/** An object that hangs on a link, or on none: everything but the link itself. */
type LinkedObject = Exclude<KernelObject, Link>;

/** An operation that becomes one message of a batch, about the link with this index. */
interface Sent {
  readonly operation: Operation;
  readonly object: LinkedObject;
  readonly index: number | undefined;
}

/** Carries out operations; tells what it does to those who listen to the kernel. */
export class Changes {
  /** See `Observation.crowded`: what was observed last, but for what has been put alone since. */
  crowded = new Map<string, number>();
  /** Whose routes are ours or flannel's: what was observed last. */
  places: OwnPlaces | undefined;
  readonly #links: LinkChanges;

  constructor(
    private readonly netlink: Rtnetlink,
    private readonly subscriptions: Iterable<Subscription>,
  ) {
    this.#links = new LinkChanges(netlink, subscriptions);
  }

  /** Blocks until all are done: some microseconds each. Returns those the kernel refused. */
  apply(operations: readonly Operation[]): FailedOperation[] {
    const failed: FailedOperation[] = [];
    const fail = (operation: Operation, error: NetlinkError) => {
      if (operation.verb === 'remove' && ABSENT.has(errnoName(error.errno))) return;
      failed.push({ operation, error: kernelErrorOf(`cannot ${printOperation(operation)}`, error) });
    };
    let batch: Operation[] = [];
    for (const operation of operations) {
      const { verb, object } = operation;
      if (object.kind !== 'link') {
        batch.push(operation);
        continue;
      }
      this.#applyBatch(batch, fail);
      batch = [];
      const error = verb === 'put' ? this.#links.put(object) : this.#links.remove(object);
      if (error) fail(operation, error);
    }
    this.#applyBatch(batch, fail);
    return failed;
  }

  #applyBatch(
    operations: readonly Operation[],
    fail: (operation: Operation, error: NetlinkError) => void,
  ): void {
    if (operations.length === 0) return;
    // Looked up anew for each batch: a link that was made anew has another index.
    const indexes = new Map<string, number | undefined>();
    const sent: Sent[] = [];
    for (const operation of operations) {
      const object = operation.object as LinkedObject;
      const { link } = object;
      if (link !== undefined && !indexes.has(link)) indexes.set(link, this.netlink.indexOf(link));
      const index = link === undefined ? undefined : indexes.get(link);
      if (link !== undefined && index === undefined) fail(operation, NO_SUCH_LINK);
      else if (operation.verb === 'put' || object.kind !== 'neighbor-parameters') {
        if (this.crowded.size > 0) sent.push(...this.#clearing(operation, object));
        sent.push({ operation, object, index });
      }
    }
    const errors = this.netlink.execute((writer) => {
      for (const { operation, object, index } of sent) {
        if (operation.verb === 'put') writePut(writer, object, index);
        else writeRemoval(writer, object, index);
        if (object.kind === 'fdb-entry') this.#expectFdbEntry(operation, object);
      }
    });
    for (const [position, error] of errors) {
      const { operation, object, index } = sent[position]!;
      const isTaken =
        operation.verb === 'put' && object.kind === 'route' && errnoName(error.errno) === 'EEXIST';
      const left = isTaken ? putBehind(this.netlink, object, index, this.places) : error;
      if (left) fail(operation, left);
    }
    // Else a look would never believe what it finds, and each put would remove it first.
    for (const { verb, object } of operations) if (verb === 'put') this.crowded.delete(keyOf(object));
  }

  /** Removes all routes that have the key of what is to be put, on whatever link, where there are several. */
  #clearing({ verb }: Operation, object: LinkedObject): Sent[] {
    const count = verb === 'put' ? (this.crowded.get(keyOf(object)) ?? 0) : 0;
    const operation: Operation = { verb: 'remove', object };
    return Array.from({ length: count }, () => ({ operation, object, index: undefined }));
  }

  #expectFdbEntry({ verb }: Operation, object: LinkedObject & { kind: 'fdb-entry' }): void {
    const destination = verb === 'put' ? object.destination : undefined;
    for (const subscription of this.subscriptions) subscription.expectFdbEntry(object.mac, destination);
  }
}

function writePut(writer: MessageWriter, object: LinkedObject, index: number | undefined): void {
  switch (object.kind) {
    case 'neighbor-parameters':
      return writeNeighborParameters(writer, object, index!);
    case 'address':
      return writeAddress(writer, object, index!);
    case 'fdb-entry':
      return writeFdbEntry(writer, object, index!);
    case 'neighbor':
      return writeNeighbor(writer, object, index!);
    case 'route':
      return writeRoute(writer, object, index, 'alone');
  }
}

function writeRemoval(writer: MessageWriter, object: LinkedObject, index: number | undefined): void {
  switch (object.kind) {
    case 'neighbor-parameters':
      throw new TypeError('neighbor parameters go with their link');
    case 'address':
      return writeAddressRemoval(writer, object, index!);
    case 'fdb-entry':
      return writeFdbRemoval(writer, object, index!);
    case 'neighbor':
      return writeNeighborRemoval(writer, object, index!);
    case 'route':
      return writeRouteRemoval(writer, object, index);
  }
}

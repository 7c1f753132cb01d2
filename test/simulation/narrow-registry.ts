/** A registry that shows a host only some of the others: what makes runs with very many hosts possible. */
import { parseLeaseName } from '../../src/model/lease-codec';
import type { LeaseBatch, LeaseChange, LeaseRegistry, LeaseSnapshot } from '../../src/ports';
import { Adapter } from './adapter';

/** Hosts with a smaller number see everybody. */
const OBSERVERS = 10;
/** So many others the rest sees, more or less. */
const SHOWN_HOSTS = 60;

/**
 * Which keys a host is shown, by their names; undefined where it is shown all. A host that sees few others will often want a
 * subnet that is taken: that the store alone keeps them apart is what is tested then.
 */
export function viewOf(host: number, hosts: number): ((name: string) => boolean) | undefined {
  const groups = Math.max(1, Math.round(hosts / SHOWN_HOSTS));
  if (host < OBSERVERS) return undefined;
  return (name) => numberOf(name) % groups === host % groups;
}

/** Every host asks for the same few thousand names again and again. */
const numbers = new Map<string, number>();

function numberOf(name: string): number {
  const known = numbers.get(name);
  if (known !== undefined) return known;
  const octets = parseLeaseName(name)?.subnet.address.split('.').map(Number) ?? [0, 0, 0];
  const number = octets[1]! * 256 + octets[2]!;
  numbers.set(name, number);
  return number;
}

export class NarrowRegistry extends Adapter {
  constructor(
    inner: Adapter['inner'],
    private readonly isInView: (name: string) => boolean,
    private readonly isOwn: (publicIp: string) => boolean,
    /** The host's own keys are shown from the moment they are its own. */
    private readonly ownKeys: Set<string>,
  ) {
    super(inner);
  }

  override async list(signal: AbortSignal): Promise<LeaseSnapshot> {
    const { revision, leases, malformed } = await super.list(signal);
    return {
      revision,
      leases: leases.filter((lease) => this.#isShown({ kind: 'put', lease })),
      malformed: malformed.filter(({ name }) => this.isInView(name) || this.ownKeys.has(name)),
    };
  }

  override find: LeaseRegistry['find'] = async (...args) => {
    const lease = await this.inner.find(...args);
    return lease && this.#isShown({ kind: 'put', lease }) ? lease : undefined;
  };

  override async *watch(afterRevision: string, signal: AbortSignal): AsyncGenerator<LeaseBatch> {
    for await (const { revision, changes } of super.watch(afterRevision, signal)) {
      const shown = changes.filter((change) => this.#isShown(change));
      // What does not concern it does not wake it.
      if (shown.length > 0 || changes.length === 0) yield { revision, changes: shown };
    }
  }

  #isShown(change: LeaseChange): boolean {
    const name =
      change.kind === 'put'
        ? change.lease.name
        : change.kind === 'removed'
          ? change.name
          : change.malformed.name;
    if (change.kind === 'put' && this.isOwn(change.lease.attributes.publicIp ?? '')) this.ownKeys.add(name);
    return this.isInView(name) || this.ownKeys.has(name);
  }
}

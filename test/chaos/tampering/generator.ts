/** Random tampering with what an agent wrote: which operations, and which objects they make the agent repair. */
import { ipAddress, subnet, type IpAddress } from '../../../src/model/address';
import {
  ROUTE_PROTOCOL,
  keyOf,
  type FdbEntry,
  type KernelObject,
  type KernelState,
  type Link,
  type Neighbor,
  type Route,
} from '../../../src/model/kernel-state';
import { macAddress, type MacAddress } from '../../../src/model/mac';
import type { Operation } from '../../../src/model/operation';

export type Kind = 'delete' | 'alter' | 'several' | 'lookalike' | 'base' | 'flush' | 'device';

export interface Tampering {
  readonly kind: Kind;
  readonly operations: readonly Operation[];
  /** Keys of what the agent will have to put back or take away. */
  readonly affects: readonly string[];
}

/** Of a thousand, so many are of each kind. The last three hit what there is only one of. */
const SHARES: readonly (readonly [Kind, number])[] = [
  ['delete', 500],
  ['alter', 250],
  ['several', 90],
  ['lookalike', 120],
  ['base', 22],
  ['flush', 12],
  ['device', 6],
];

/** Makes tamperings with one state; the same for the same random numbers. */
export class Generator {
  readonly #all: readonly KernelObject[];
  readonly #entries: readonly (FdbEntry | Neighbor | Route)[];
  readonly #link: Link;
  #made = 0;

  constructor(
    state: KernelState,
    private readonly random: () => number,
  ) {
    this.#all = [...state.values()];
    this.#link = this.#all.find((object) => object.kind === 'link')!;
    this.#entries = this.#all.filter(isPeersEntry);
  }

  /** One of each kind, and then by their shares. */
  next(): Tampering {
    const first = SHARES[this.#made++];
    if (first) return this.of(first[0]);
    let left = this.random() * 1000;
    const [kind] = SHARES.find(([, share]) => (left -= share) < 0)!;
    return this.of(kind);
  }

  of(kind: Kind): Tampering {
    switch (kind) {
      case 'delete':
        return tampering(kind, [remove(this.#pick(this.#entries))]);
      case 'alter':
        return tampering(kind, [put(this.#altered(this.#pick(this.#entries)))]);
      case 'several':
        return this.#several();
      case 'lookalike':
        return tampering(kind, [put(this.#lookalike())]);
      case 'base':
        return this.#base();
      case 'flush':
        return this.#flush();
      case 'device':
        return this.#device();
    }
  }

  #several(): Tampering {
    const count = 2 + Math.floor(this.random() * 6);
    const objects = new Map<string, Operation>();
    for (let n = 0; n < count; n++) {
      const object = this.#pick(this.#entries);
      objects.set(keyOf(object), this.random() < 0.5 ? remove(object) : put(this.#altered(object)));
    }
    return tampering('several', [...objects.values()]);
  }

  #altered(object: FdbEntry | Neighbor | Route): KernelObject {
    switch (object.kind) {
      case 'fdb-entry':
        return { ...object, destination: this.#strangeAddress() };
      case 'neighbor':
        return this.random() < 0.3
          ? { ...object, mac: undefined, state: 'failed' }
          : { ...object, mac: this.#strangeMac(), state: 'permanent' };
      case 'route':
        return { ...object, gateway: this.#otherGateway(object) };
    }
  }

  #otherGateway(route: Route): IpAddress {
    const gateway = this.#pick(this.#entries.filter(isRoute)).gateway;
    return gateway === undefined || gateway === route.gateway ? strangeOverlayAddress(this.random) : gateway;
  }

  #lookalike(): KernelObject {
    const link = this.#link.name;
    const gateway = strangeOverlayAddress(this.random);
    const route: Route = {
      kind: 'route',
      type: 'unicast',
      destination: subnet(`${gateway}/24`),
      link,
      gateway,
      source: undefined,
      metric: 1 + Math.floor(this.random() * 1000),
      protocol: ROUTE_PROTOCOL,
    };
    return this.#pick<KernelObject>([
      { kind: 'fdb-entry', link, mac: this.#strangeMac(), destination: this.#strangeAddress() },
      { kind: 'neighbor', link, address: gateway, mac: this.#strangeMac(), state: 'permanent' },
      { kind: 'address', link, address: gateway, prefixLength: 32 },
      route,
      { ...route, type: 'unreachable', link: undefined, gateway: undefined },
    ]);
  }

  /** Address, network route, MTU, up or down. */
  #base(): Tampering {
    const one = this.#pick(
      this.#all.filter((object) => object.kind === 'address' || (isRoute(object) && !isPeersEntry(object))),
    );
    const networkRoute = this.#all.find((object) => isRoute(object) && !isPeersEntry(object))!;
    switch (Math.floor(this.random() * 3)) {
      case 0:
        // The routes that have it as their source go with an address.
        return tampering('base', [remove(one)], [keyOf(networkRoute)]);
      case 1:
        return tampering('base', [put({ ...this.#link, mtu: 1200 + Math.floor(this.random() * 200) })]);
      default:
        // A link takes its routes with it when it goes down.
        return tampering('base', [put({ ...this.#link, up: false })], this.#all.map(keyOf));
    }
  }

  #flush(): Tampering {
    const kinds = this.#pick<readonly KernelObject['kind'][]>([
      ['route'],
      ['neighbor'],
      ['fdb-entry'],
      ['route', 'neighbor', 'fdb-entry', 'address'],
    ]);
    const operations = this.#all.filter(({ kind }) => kinds.includes(kind)).map(remove);
    return tampering('flush', operations);
  }

  #device(): Tampering {
    const operation =
      this.random() < 0.5 ? remove(this.#link) : put({ ...this.#link, mac: this.#strangeMac() });
    return tampering('device', [operation], this.#all.map(keyOf));
  }

  #strangeMac(): MacAddress {
    const bytes = Array.from({ length: 4 }, () =>
      Math.floor(this.random() * 256)
        .toString(16)
        .padStart(2, '0'),
    );
    return macAddress(`0e:99:${bytes.join(':')}`);
  }

  #strangeAddress(): IpAddress {
    return ipAddress(`198.51.100.${1 + Math.floor(this.random() * 250)}`);
  }

  #pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.random() * from.length)]!;
  }
}

/** In subnets that no peer has: 10.5.240.0 and on. */
function strangeOverlayAddress(random: () => number): IpAddress {
  return ipAddress(`10.5.${240 + Math.floor(random() * 15)}.0`);
}

function isRoute(object: KernelObject): object is Route {
  return object.kind === 'route';
}

function isPeersEntry(object: KernelObject): object is FdbEntry | Neighbor | Route {
  if (object.kind === 'route') return object.gateway !== undefined;
  return object.kind === 'fdb-entry' || object.kind === 'neighbor';
}

function put(object: KernelObject): Operation {
  return { verb: 'put', object };
}

function remove(object: KernelObject): Operation {
  return { verb: 'remove', object };
}

function tampering(kind: Kind, operations: readonly Operation[], also: readonly string[] = []): Tampering {
  return {
    kind,
    operations,
    affects: [...new Set([...operations.map(({ object }) => keyOf(object)), ...also])],
  };
}

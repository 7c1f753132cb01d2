/** Something that stands between an agent and its registry. */
import type { Lease, LeaseAttributes, LeaseSubnets } from '../../src/model/lease';
import type { LeaseBatch, LeaseRegistry, LeaseSnapshot, WriteResult } from '../../src/ports';

/** A registry that passes everything on, but for what its heirs change. */
export class Adapter implements LeaseRegistry {
  constructor(readonly inner: LeaseRegistry) {}

  readConfig: LeaseRegistry['readConfig'] = (...args) => this.inner.readConfig(...args);
  writeConfig: LeaseRegistry['writeConfig'] = (...args) => this.inner.writeConfig(...args);
  count: LeaseRegistry['count'] = (...args) => this.inner.count(...args);
  find: LeaseRegistry['find'] = (...args) => this.inner.find(...args);
  grant: LeaseRegistry['grant'] = (...args) => this.inner.grant(...args);
  keepAlive: LeaseRegistry['keepAlive'] = (...args) => this.inner.keepAlive(...args);
  reconnect: LeaseRegistry['reconnect'] = () => this.inner.reconnect();
  isGrantedToUs: LeaseRegistry['isGrantedToUs'] = (...args) => this.inner.isGrantedToUs(...args);
  lifeOf: LeaseRegistry['lifeOf'] = (...args) => this.inner.lifeOf(...args);
  revoke: LeaseRegistry['revoke'] = (...args) => this.inner.revoke(...args);
  remove: LeaseRegistry['remove'] = (...args) => this.inner.remove(...args);
  checkAccess: LeaseRegistry['checkAccess'] = (...args) => this.inner.checkAccess(...args);

  list(signal: AbortSignal): Promise<LeaseSnapshot> {
    return this.inner.list(signal);
  }
  watch(afterRevision: string, signal: AbortSignal): AsyncIterable<LeaseBatch> {
    return this.inner.watch(afterRevision, signal);
  }
  create(
    subnets: LeaseSubnets,
    attributes: LeaseAttributes,
    id: string | undefined,
    signal: AbortSignal,
  ): Promise<WriteResult> {
    return this.inner.create(subnets, attributes, id, signal);
  }
  update(
    lease: Lease,
    attributes: LeaseAttributes,
    id: string | undefined,
    signal: AbortSignal,
  ): Promise<WriteResult> {
    return this.inner.update(lease, attributes, id, signal);
  }
  close(): void {
    this.inner.close();
  }
}

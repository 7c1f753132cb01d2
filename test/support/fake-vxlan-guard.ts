/** A guard in memory. */
import { HostError } from '../../src/model/errors';
import {
  printAdmissionTerms,
  printAdmittedPeer,
  type Admission,
  type AdmittedPeer,
  type InstalledAdmission,
} from '../../src/model/admission';
import type { VxlanGuard } from '../../src/ports';

export class FakeVxlanGuard implements VxlanGuard {
  /** By link. */
  readonly installed = new Map<string, { terms: string | undefined; peers: Set<string> }>();
  /** Every call but observations, as text. */
  readonly calls: string[] = [];
  observations = 0;
  /** Makes every method fail. */
  error: Error | undefined;

  observe(link: string, signal: AbortSignal): Promise<InstalledAdmission | undefined> {
    return this.#do(signal, () => {
      this.observations++;
      const found = this.installed.get(link);
      return found && { terms: found.terms, peers: new Set(found.peers) };
    });
  }

  install(admission: Admission, signal: AbortSignal): Promise<void> {
    return this.#do(signal, () => {
      const peers = new Set(admission.peers.map(printAdmittedPeer));
      this.calls.push(`install ${[...peers].join(', ')}`);
      this.installed.set(admission.link, { terms: printAdmissionTerms(admission), peers });
    });
  }

  change(
    { link }: Admission,
    add: readonly AdmittedPeer[],
    remove: readonly string[],
    signal: AbortSignal,
  ): Promise<void> {
    return this.#do(signal, () => {
      const found = this.installed.get(link);
      const isThere = found && remove.every((text) => found.peers.has(text));
      if (!isThere) throw new HostError('FAILED', 'no such element');
      this.calls.push(`add ${add.map(printAdmittedPeer).join(', ')} remove ${remove.join(', ')}`);
      for (const peer of add) found.peers.add(printAdmittedPeer(peer));
      for (const text of remove) found.peers.delete(text);
    });
  }

  remove(link: string, signal: AbortSignal): Promise<void> {
    return this.#do(signal, () => {
      this.calls.push('remove');
      this.installed.delete(link);
    });
  }

  #do<T>(signal: AbortSignal, action: () => T): Promise<T> {
    return new Promise((resolve) => {
      signal.throwIfAborted();
      if (this.error) throw this.error;
      resolve(action());
    });
  }
}

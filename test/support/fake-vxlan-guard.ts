/** A guard in memory. */
import type { IpAddress } from '../../src/model/address';
import {
  printAdmissionTerms,
  printAdmittedPeer,
  type Admission,
  type AdmissionChange,
  type AdmissionTerms,
  type AdmittedPeer,
  type InstalledAdmission,
} from '../../src/model/admission';
import { KernelError } from '../../src/model/errors';
import type { VxlanGuard } from '../../src/ports';

export class FakeVxlanGuard implements VxlanGuard {
  /** By link. */
  readonly installed = new Map<string, { terms: string | undefined; peers: Map<string, AdmittedPeer> }>();
  /** Every call that writes, as text. */
  readonly calls: string[] = [];
  observations = 0;
  /** Makes every method fail. */
  error: Error | undefined;
  strangers: IpAddress[] = [];
  readonly #listeners = new Map<string, Set<() => void>>();

  observe(link: string): InstalledAdmission | undefined {
    this.#mayFail();
    this.observations++;
    const found = this.installed.get(link);
    return found && { terms: found.terms, peers: [...found.peers.values()], strangers: this.strangers };
  }

  install(admission: Admission): void {
    this.#mayFail();
    const peers = new Map(admission.peers.map((peer) => [printAdmittedPeer(peer), peer]));
    this.calls.push(`install ${[...peers.keys()].join(', ')}`);
    this.installed.set(admission.link, { terms: printAdmissionTerms(admission), peers });
  }

  change({ link }: AdmissionTerms, { admitted, refused }: AdmissionChange): void {
    this.#mayFail();
    if (admitted.length + refused.length === 0) return;
    const found = this.installed.get(link);
    const leaving = refused.map(printAdmittedPeer);
    if (!found || !leaving.every((text) => found.peers.has(text)))
      throw new KernelError('ENOENT', 'no such element');
    this.calls.push(`add ${admitted.map(printAdmittedPeer).join(', ')} remove ${leaving.join(', ')}`);
    for (const peer of admitted) found.peers.set(printAdmittedPeer(peer), peer);
    for (const text of leaving) found.peers.delete(text);
  }

  remove(link: string): void {
    this.#mayFail();
    this.calls.push('remove');
    this.installed.delete(link);
  }

  links(): readonly string[] {
    this.#mayFail();
    return [...this.installed.keys()];
  }

  listen(link: string, onChange: () => void, signal: AbortSignal): void {
    this.#mayFail();
    const listeners = this.#listeners.get(link) ?? new Set();
    this.#listeners.set(link, listeners.add(onChange));
    signal.addEventListener('abort', () => listeners.delete(onChange));
  }

  /** Somebody else changes what is installed for that link. */
  tamper(
    link: string,
    change: (found: { terms: string | undefined; peers: Map<string, AdmittedPeer> }) => void,
  ): void {
    const found = this.installed.get(link);
    if (found) change(found);
    for (const listener of this.#listeners.get(link) ?? []) listener();
  }

  /** Somebody else removes it. */
  flush(link: string): void {
    this.installed.delete(link);
    this.tamper(link, () => undefined);
  }

  #mayFail(): void {
    if (this.error) throw this.error;
  }
}

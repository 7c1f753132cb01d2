import type { Admission, AdmissionChange, AdmissionTerms, InstalledAdmission } from '../model/admission';

/** Who may send to our VXLAN port; by default anybody. Methods work at once, and throw {@link KernelError}. */
export interface VxlanGuard {
  /** What is installed for that link; undefined: anybody may send. */
  observe(link: string): InstalledAdmission | undefined;
  /** Replaces all there is for that link; no peer is refused meanwhile. */
  install(admission: Admission): void;
  /** Admits and refuses, or, when one who is refused was not admitted, throws and does neither. */
  change(terms: AdmissionTerms, change: AdmissionChange): void;
  /** Anybody may send again. No error if it was so. */
  remove(link: string): void;
  /** The links there is something installed for. */
  links(): readonly string[];
  /** Calls back after somebody else changed what is installed for that link, until the signal aborts. */
  listen(link: string, onChange: () => void, signal: AbortSignal): void;
}

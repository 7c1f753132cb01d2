/**
 * The outside world, one file per port. The engine knows the registry, the kernel, the firewall, the host, time and the log only
 * by these interfaces; the adapters (etcd/, kernel/, host/, log.ts) implement them, and the fakes in test/support pass the same
 * contract suites. Every wait takes an AbortSignal and rejects with its reason soon after it aborted.
 */
export type * from './clock';
export type * from './firewall';
export type * from './host';
export type * from './kernel';
export type * from './log';
export type * from './miss-fast-path';
export type * from './registry';
export type * from './registry-server';
export type * from './miss-fast-path';
export type * from './vxlan-guard';

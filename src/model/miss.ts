/** Questions the kernel asks us. */
import type { IpAddress } from './address';
import type { MacAddress } from './mac';

/**
 * `l3`: which MAC has this address? (packets wait in the kernel for the answer) `l2`: behind which host is this MAC? (the
 * packet that raised it is lost). Source: RTM_GETNEIGH with NDA_DST in state INCOMPLETE, or with NDA_LLADDR alone.
 */
export type Miss =
  { readonly layer: 'l3'; readonly address: IpAddress } | { readonly layer: 'l2'; readonly mac: MacAddress };

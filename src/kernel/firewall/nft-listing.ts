/** What nft(8) lists. */
import { HostError } from '../../model/errors';
import type { Execute } from './execute';
import type { NftChain, NftRule } from './nft-syntax';

/** One of these. */
export interface NftListed {
  readonly table?: { readonly family: string; readonly name: string };
  readonly chain?: NftChain;
  readonly rule?: NftRule;
}

/** Asks nft(8). Throws a {@link HostError}. */
export class NftListing {
  constructor(private readonly execute: Execute) {}

  /** All chains of all tables. */
  async chains(signal: AbortSignal): Promise<NftChain[]> {
    return (await this.list('chains', signal)).flatMap(({ chain }) => (chain ? [chain] : []));
  }

  /** The rules of a table, in the order of its chains. */
  async rules(family: string, table: string, signal: AbortSignal): Promise<NftRule[]> {
    const objects = await this.list(`table ${family} ${table}`, signal);
    return objects.flatMap(({ rule }) => (rule ? [rule] : []));
  }

  /** Terse: the elements of others' sets are none of our business, and may be many. */
  async list(what: string, signal: AbortSignal): Promise<readonly NftListed[]> {
    const text = await this.execute('nft', ['-j', '-t', '-a', 'list', ...what.split(' ')], undefined, signal);
    try {
      return (JSON.parse(text) as { nftables: NftListed[] }).nftables;
    } catch (cause) {
      throw new HostError('FAILED', `cannot read the answer of 'nft -j list ${what}'`, { cause });
    }
  }
}

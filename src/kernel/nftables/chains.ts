/** Chains of nf_tables. Numbers and names: linux/netfilter.h, linux/netfilter/nf_tables.h. */
import type { MessageWriter } from '../message-writer';
import { Verdict, putTable } from './messages';

export const CHAIN = { NAME: 3, HOOK: 4, POLICY: 5, TYPE: 7 } as const;
export const HOOK = { NUMBER: 1, PRIORITY: 2 } as const;
const NF_INET_LOCAL_IN = 1;
const NF_INET_FORWARD = 2;
const NF_INET_POST_ROUTING = 4;

/** Where the kernel enters a chain: with packets for this host, with those that it forwards, or with all that leave. */
export const Hook = {
  input: NF_INET_LOCAL_IN,
  forward: NF_INET_FORWARD,
  postrouting: NF_INET_POST_ROUTING,
} as const;

/** How the kernel enters a chain. */
export interface ChainEntry {
  readonly type: 'filter' | 'nat';
  readonly hook: keyof typeof Hook;
  readonly priority: number;
}

/** `entry` undefined: a chain that is only jumped to. */
export function putChain(writer: MessageWriter, table: string, name: string, entry?: ChainEntry): void {
  putTable(writer, table);
  writer.string(CHAIN.NAME, name);
  if (entry === undefined) return;
  writer.nest(CHAIN.HOOK, () => {
    writer.u32be(HOOK.NUMBER, Hook[entry.hook]);
    writer.u32be(HOOK.PRIORITY, entry.priority);
  });
  writer.u32be(CHAIN.POLICY, Verdict.accept);
  writer.string(CHAIN.TYPE, entry.type);
}

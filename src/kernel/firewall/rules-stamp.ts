/** Whether the rules of the packet filter may have changed, for next to nothing: its tools take tens of milliseconds to say. */
import { readFileSync } from 'node:fs';
import { openRequestSocket } from '../../../native';

/** linux/netlink.h, linux/netfilter/nfnetlink.h, linux/netfilter/nf_tables.h */
const NETLINK_NETFILTER = 12;
const NFT_MSG_GETGEN = 0x0a10;
const NFT_MSG_NEWGEN = 0x0a0f;
const NFTA_GEN_ID = 1;
const NLM_F_REQUEST = 1;
/** struct nlmsghdr, struct nfgenmsg */
const HEADER_BYTES = 16;
const NFGEN_BYTES = 4;
const SOCKET = { protocol: NETLINK_NETFILTER, receiveBufferBytes: 1 << 16, timeoutMilliseconds: 1_000 };

/** Tables of iptables-legacy, which tells nobody of its changes. */
const LEGACY_TABLES = ['/proc/net/ip_tables_names', '/proc/net/ip6_tables_names'];

/**
 * Equal at two moments exactly if nobody changed the rules between them (nftables' generation: each transaction, iptables-nft's
 * too, has one of its own). Undefined where nobody can say: with tables of iptables-legacy, or without nftables.
 */
export function stampOfRules(): string | undefined {
  if (LEGACY_TABLES.some(hasText)) return undefined;
  try {
    const generation = readGeneration();
    return generation === undefined ? undefined : `generation ${generation}`;
  } catch {
    return undefined;
  }
}

function hasText(path: string): boolean {
  try {
    return readFileSync(path, 'utf8').trim() !== '';
  } catch (error) {
    // Its kernel module was never loaded: there are no such tables.
    return (error as NodeJS.ErrnoException).code !== 'ENOENT';
  }
}

function readGeneration(): number | undefined {
  const socket = openRequestSocket(SOCKET);
  try {
    const request = Buffer.alloc(HEADER_BYTES + NFGEN_BYTES);
    request.writeUInt32LE(request.length, 0);
    request.writeUInt16LE(NFT_MSG_GETGEN, 4);
    request.writeUInt16LE(NLM_F_REQUEST, 6);
    socket.send(request);
    const answer = socket.receive();
    const attribute = HEADER_BYTES + NFGEN_BYTES;
    const isGeneration =
      answer.length >= attribute + 8 &&
      answer.readUInt16LE(4) === NFT_MSG_NEWGEN &&
      answer.readUInt16LE(attribute + 2) === NFTA_GEN_ID;
    return isGeneration ? answer.readUInt32BE(attribute + 4) : undefined;
  } finally {
    socket.close();
  }
}

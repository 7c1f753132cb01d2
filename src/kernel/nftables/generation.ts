/** Which generation of its rules nf_tables is at: each transaction, iptables-nft's too, begins one. */
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

/** Undefined where the answer makes no sense. Throws what native/ throws: a kernel may have no nf_tables. */
export function readGeneration(): number | undefined {
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

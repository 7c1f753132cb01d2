/** The expressions of nf_tables' rules, as far as we write them. Numbers and names: linux/netfilter/nf_tables.h. */
import { addressToBytes, bitsOf, integerToAddress, type Family } from '../../model/address';
import type { MessageWriter } from '../message-writer';
import { DATA, LIST_ITEM, Verdict, bigEndian64 } from './messages';

export const EXPRESSION = { NAME: 1, DATA: 2 } as const;
/** NFT_REG_VERDICT; registers of four bytes are numbered from 8 on. */
const VERDICT_REGISTER = 0;
const FIRST_REGISTER = 8;
/** A register of four bytes, from 0. An IPv6 address takes four of them. */
export type Register = number;

const JUMP = -3;
/** Where a header begins: NFT_PAYLOAD_*. */
export const Base = { network: 1, transport: 2 } as const;
/** NFT_META_* */
export const META = { mark: 3, iifname: 6, nfproto: 15, l4proto: 16 } as const;
/** NF_NAT_RANGE_PROTO_RANDOM_FULLY */
export const RANDOM_FULLY = 0x10;
/** NFT_CMP_EQ, NFT_CMP_NEQ */
const CMP_EQ = 0;
const CMP_NEQ = 1;

/** NFT_FIB_RESULT_OIF, NFTA_FIB_F_* */
const FIB_RESULT_OIF = 1;
const FIB_SADDR = 1;
const FIB_IIF = 8;

/** The expressions of a rule, one after the other; a packet that one does not match leaves the rule. */
export class RuleWriter {
  constructor(private readonly writer: MessageWriter) {}

  /** `meta nfproto`, `meta l4proto`, … into a register. */
  meta(key: keyof typeof META, to: Register): this {
    return this.#expression('meta', () => {
      this.writer.u32be(1, FIRST_REGISTER + to);
      this.writer.u32be(2, META[key]);
    });
  }

  /** Bytes of the packet into a register. */
  load(base: keyof typeof Base, offset: number, length: number, to: Register): this {
    return this.#expression('payload', () => {
      this.writer.u32be(1, FIRST_REGISTER + to);
      this.writer.u32be(2, Base[base]);
      this.writer.u32be(3, offset);
      this.writer.u32be(4, length);
    });
  }

  /** `fib saddr . iif oif`: the interface it came by, if the source is reached by that; else 0. */
  returnInterface(to: Register): this {
    return this.#expression('fib', () => {
      this.writer.u32be(1, FIRST_REGISTER + to);
      this.writer.u32be(2, FIB_RESULT_OIF);
      this.writer.u32be(3, FIB_SADDR | FIB_IIF);
    });
  }

  mask(register: Register, mask: Uint8Array): this {
    return this.#expression('bitwise', () => {
      this.writer.u32be(1, FIRST_REGISTER + register);
      this.writer.u32be(2, FIRST_REGISTER + register);
      this.writer.u32be(3, mask.length);
      this.#data(4, mask);
      this.#data(5, new Uint8Array(mask.length));
    });
  }

  is(register: Register, value: Uint8Array): this {
    return this.#compare(register, CMP_EQ, value);
  }

  isNot(register: Register, value: Uint8Array): this {
    return this.#compare(register, CMP_NEQ, value);
  }

  #compare(register: Register, operation: number, value: Uint8Array): this {
    return this.#expression('cmp', () => {
      this.writer.u32be(1, FIRST_REGISTER + register);
      this.writer.u32be(2, operation);
      this.#data(3, value);
    });
  }

  isIn(register: Register, set: string): this {
    return this.#lookUp(register, set, false);
  }

  isNotIn(register: Register, set: string): this {
    return this.#lookUp(register, set, true);
  }

  /** Remembers the register in a set that rules fill; while that is full, the packet leaves the rule. */
  remember(register: Register, set: string, milliseconds: number): this {
    return this.#expression('dynset', () => {
      this.writer.string(1, set);
      this.writer.u32be(3, 1);
      this.writer.u32be(4, FIRST_REGISTER + register);
      this.writer.bytes(6, bigEndian64(milliseconds));
    });
  }

  count(): this {
    return this.#expression('counter', () => undefined);
  }

  verdict(verdict: keyof typeof Verdict): this {
    return this.#verdict(Verdict[verdict]);
  }

  masquerade(isFullyRandom: boolean): this {
    return this.#expression('masq', () => {
      if (isFullyRandom) this.writer.u32be(1, RANDOM_FULLY);
    });
  }

  jump(chain: string): this {
    return this.#verdict(JUMP, chain);
  }

  #verdict(code: number, chain?: string): this {
    return this.#expression('immediate', () => {
      this.writer.u32be(1, VERDICT_REGISTER);
      this.writer.nest(2, () => {
        this.writer.nest(DATA.VERDICT, () => {
          this.writer.u32be(1, code);
          if (chain) this.writer.string(2, chain);
        });
      });
    });
  }

  #lookUp(register: Register, set: string, isInverted: boolean): this {
    return this.#expression('lookup', () => {
      this.writer.string(1, set);
      this.writer.u32be(2, FIRST_REGISTER + register);
      if (isInverted) this.writer.u32be(5, 1);
    });
  }

  #expression(name: string, write: () => void): this {
    this.writer.nest(LIST_ITEM, () => {
      this.writer.string(EXPRESSION.NAME, name);
      this.writer.nest(EXPRESSION.DATA, write);
    });
    return this;
  }

  #data(type: number, value: Uint8Array): void {
    this.writer.nest(type, () => this.writer.bytes(DATA.VALUE, value));
  }
}

/** The bytes of a netmask. */
export function prefixMask(family: Family, prefixLength: number): Uint8Array {
  const bits = bitsOf(family);
  return addressToBytes(
    integerToAddress(family, ((1n << BigInt(prefixLength)) - 1n) << BigInt(bits - prefixLength)),
  );
}

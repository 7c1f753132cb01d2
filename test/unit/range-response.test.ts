import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { compileFunction } from 'node:vm';
import { loadSync } from '@grpc/proto-loader';
import fc from 'fast-check';
import { readRangeAnswer, type RangeAnswer } from '../../src/etcd/range-response';
import { AGENT_METHODS, staticCodecOf } from '../../scripts/static-codec.cjs';

interface Method {
  requestSerialize(value: object): Buffer;
  requestDeserialize(bytes: Buffer): object;
  responseSerialize(value: object): Buffer;
  responseDeserialize(bytes: Buffer): RangeResponse;
}

interface RangeResponse {
  readonly header: { readonly revision: string; readonly cluster_id: string };
  readonly kvs: readonly {
    key: Buffer;
    value: Buffer;
    lease: string;
    mod_revision: string;
    create_revision: string;
  }[];
}

/** As etcd3 loads it. */
const PROTO = join(require.resolve('etcd3/package.json'), '../proto/rpc.proto');
const OPTIONS = { keepCase: true, longs: String, enums: String, defaults: true, oneofs: true };
const reflected = loadSync(PROTO, OPTIONS) as unknown as Record<string, Record<string, Method>>;
const range = reflected['etcdserverpb.KV']!['Range']!;

const int64 = fc.oneof(fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n), fc.bigInt(0n, 1000n)).map(String);
const bytes = fc.oneof(
  fc.string({ unit: 'grapheme' }).map((text) => Buffer.from(text)),
  fc.uint8Array({ maxLength: 200 }).map((array) => Buffer.from(array)),
);
const keyValue = fc.record(
  { key: bytes, value: bytes, lease: int64, mod_revision: int64, create_revision: int64, version: int64 },
  { requiredKeys: [] },
);
const header = fc.record(
  { cluster_id: fc.bigInt(0n, 2n ** 64n - 1n).map(String), revision: int64, raft_term: fc.nat().map(String) },
  { requiredKeys: [] },
);
const response = fc.record(
  { header, kvs: fc.array(keyValue, { maxLength: 5 }), more: fc.boolean(), count: int64 },
  { requiredKeys: ['header'] },
);

function reflectedAnswer(message: Buffer): RangeAnswer {
  const { header, kvs } = range.responseDeserialize(message);
  return {
    revision: header.revision,
    clusterId: BigInt.asIntN(64, BigInt(header.cluster_id)).toString(),
    kvs: kvs.map(({ key, value, lease, mod_revision, create_revision }) => {
      const revisions = { modRevision: mod_revision, createRevision: create_revision };
      return { key, value, lease, ...revisions };
    }),
  };
}

describe('an answer to a range read', () => {
  it("says what etcd3's own codec finds in it", () => {
    fc.assert(
      fc.property(response, (value) => {
        const message = range.responseSerialize(value);
        expect(readRangeAnswer(message)).toEqual(reflectedAnswer(message));
      }),
    );
  });

  it('may hold fields that a later etcd adds', () => {
    // Field 15 in each of the wire types, then one that is known.
    const unknown = ['7805', '790102030405060708', '7a03616263', '7d01020304'].map((hex) =>
      Buffer.from(hex, 'hex'),
    );
    const known = range.responseSerialize({ header: { revision: '7' }, kvs: [{ key: Buffer.from('k') }] });
    const message = Buffer.concat([...unknown, known]);
    expect(readRangeAnswer(message)).toEqual(reflectedAnswer(message));
  });

  it('that ends too early is refused, wherever it ends, or is a shorter one', () => {
    fc.assert(
      fc.property(response, fc.double({ min: 0, max: 1, noNaN: true }), (value, share) => {
        const message = range.responseSerialize(value);
        const part = message.subarray(0, Math.floor(message.length * share));
        expect(outcomeOf(() => readRangeAnswer(part))).toEqual(outcomeOf(() => reflectedAnswer(part)));
      }),
    );
  });

  it('that is noise is refused with a RangeError that says so, or read', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (noise) => {
        try {
          readRangeAnswer(Buffer.from(noise));
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError);
          expect((error as Error).message).toMatch(/^parsing error: /);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});

function outcomeOf<T>(work: () => T): T | 'refused' {
  try {
    return work();
  } catch {
    return 'refused';
  }
}

describe('the codec that is made at build time', () => {
  const compiled = compile(staticCodecOf(PROTO, OPTIONS, AGENT_METHODS));

  it('has the methods that src/etcd calls, and no others', () => {
    const folder = join(__dirname, '../../src/etcd');
    const text = readdirSync(folder)
      .map((name) => readFileSync(join(folder, name), 'utf8'))
      .join('');
    const called = [...text.matchAll(/'(KV|Watch|Lease|Auth|Cluster|Maintenance)',\s*'(\w)(\w+)'/g)];
    const calls = called.map(
      ([, service, first, rest]) => `etcdserverpb.${service}.${first!.toUpperCase()}${rest}`,
    );
    const methods = Object.entries(compiled).flatMap(([service, of]) =>
      Object.keys(of).map((method) => `${service}.${method}`),
    );
    expect(methods.sort()).toEqual([...new Set(calls)].sort());
  });

  it('is not made where a method is not in the protocol', () => {
    expect(() => staticCodecOf(PROTO, OPTIONS, { 'etcdserverpb.KV': ['Rang'] })).toThrow(
      'has no method Rang of etcdserverpb.KV',
    );
  });

  it('reads and writes as etcd3 does at run time', () => {
    fc.assert(
      fc.property(response, (value) => {
        const message = range.responseSerialize(value);
        const method = compiled['etcdserverpb.KV']!['Range']!;
        expect(method.responseDeserialize(message)).toEqual(range.responseDeserialize(message));
      }),
    );
    const txn = {
      compare: [{ key: Buffer.from('k'), result: 'Equal', target: 'Mod', mod_revision: '9007199254740993' }],
      success: [
        { request_put: { key: Buffer.from('k'), value: Buffer.from('v'), lease: '7587878571234567890' } },
      ],
      failure: [{ request_range: { key: Buffer.from('k'), keys_only: true } }],
    };
    const watch = {
      create_request: { key: Buffer.from('a'), start_revision: '5', fragment: true, filters: ['NOPUT'] },
    };
    for (const [service, method, request] of [
      ['KV', 'Txn', txn],
      ['Watch', 'Watch', watch],
      ['Lease', 'LeaseGrant', { TTL: 86_400, ID: '123456789012345678' }],
      ['Auth', 'Authenticate', { name: 'a', password: 'b' }],
    ] as const) {
      const of = (codec: typeof compiled) => codec[`etcdserverpb.${service}`]![method]!;
      expect(of(compiled).requestSerialize(request)).toEqual(of(reflected).requestSerialize(request));
    }
    const answer = reflected['etcdserverpb.Watch']!['Watch']!.responseSerialize({
      header: { revision: '3' },
      events: [{ type: 'DELETE', kv: { key: Buffer.from('x'), mod_revision: '3' } }, { kv: { lease: '-1' } }],
    });
    const read = (codec: typeof compiled) =>
      codec['etcdserverpb.Watch']!['Watch']!.responseDeserialize(answer);
    expect(read(compiled)).toEqual(read(reflected));
  });
});

function compile(source: string): Record<string, Record<string, Method>> {
  const module = { exports: {} };
  const run = compileFunction(source, ['module', 'require']) as (
    module: object,
    require: NodeJS.Require,
  ) => void;
  run(module, require);
  return module.exports;
}

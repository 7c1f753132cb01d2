'use strict';
/**
 * etcd3's protocol, compiled. At every start etcd3 would parse its .proto file, build a reflection of it, describe that again as
 * descriptors, and generate the code of each message when it is first used: a tenth of a second before the first byte is sent.
 * Here the same generator of protobufjs runs at build time, and what it generates becomes a module.
 */
const protobuf = require('protobufjs');
const { loadSync } = require('@grpc/proto-loader');

/** What the agent asks of etcd (src/etcd). */
const AGENT_METHODS = {
  'etcdserverpb.KV': ['Range', 'Txn'],
  'etcdserverpb.Watch': ['Watch'],
  'etcdserverpb.Lease': ['LeaseGrant', 'LeaseRevoke', 'LeaseKeepAlive', 'LeaseTimeToLive'],
  'etcdserverpb.Auth': ['Authenticate'],
};

/**
 * The source of a module that exports what `loadSync(protoFile, options)` of @grpc/proto-loader returns, as far as a client needs
 * it: of each service the methods that are wanted, with their paths, the serializer of requests and the deserializer of answers.
 * Throws where the protocol has no such method.
 */
function staticCodecOf(protoFile, options, wanted) {
  const root = new protobuf.Root().loadSync(protoFile, { keepCase: options.keepCase });
  root.resolveAll();
  const requests = new Table('request', ({ converter, encoder }, type) => ({
    fromObject: converter.fromObject(type),
    encode: encoder(type),
  }));
  const answers = new Table('answer', ({ converter, decoder }, type) => ({
    decode: decoder(type),
    toObject: converter.toObject(type),
  }));
  const protocol = loadSync(protoFile, options);
  const services = Object.entries(wanted).map(([name, methods]) => {
    const members = methods.map((method) => {
      const definition = protocol[name]?.[method];
      if (!definition) throw new Error(`${protoFile} has no method ${method} of ${name}`);
      const { path, requestStream, responseStream, originalName } = definition;
      const { resolvedRequestType, resolvedResponseType } = root.lookupService(name).methods[method];
      const facts = JSON.stringify({ path, requestStream, responseStream, originalName });
      return `${JSON.stringify(method)}: { ...${facts},
        requestSerialize: (value) => { const type = ${requests.refer(resolvedRequestType)}; return type.encode(type.fromObject(value)).finish(); },
        responseDeserialize: (bytes) => { const type = ${answers.refer(resolvedResponseType)}; return type.toObject(type.decode(bytes), options); } }`;
    });
    return `${JSON.stringify(name)}: { ${members.join(',\n')} }`;
  });
  const printed = Object.entries(options).map(
    ([name, value]) => `${name}: ${typeof value === 'function' ? value.name : value}`,
  );
  const source = `'use strict';
const { Reader, Writer, util } = require('protobufjs/minimal');
const options = { ${printed.join(', ')} };
${requests.source()}
${answers.source()}
module.exports = { ${services.join(',\n')} };
`;
  const { util } = require('protobufjs/minimal');
  for (const [, name] of source.matchAll(/\butil\.(\w+)/g))
    if (!(name in util)) throw new Error(`protobufjs/minimal has no util.${name}, which is generated code's`);
  return source;
}

/** Messages and enums that are needed in one direction, and what they refer to. */
class Table {
  #numbers = new Map();

  constructor(name, methodsOf) {
    this.name = name;
    this.methodsOf = methodsOf;
  }

  /** How the generated module names the codec of a type. */
  refer(type) {
    if (!this.#numbers.has(type)) this.#numbers.set(type, this.#numbers.size);
    return `${this.name}[${this.#numbers.get(type)}]`;
  }

  /** A codec's methods look for the types of its fields in `types`, in the order of the fields. */
  source() {
    const codecs = [];
    const links = [];
    // Grows while we go.
    for (const type of this.#numbers.keys()) {
      if (type instanceof protobuf.Enum) {
        codecs.push(enumSource(type));
        continue;
      }
      const generated = { ctor: protobuf.Type.generateConstructor(type), ...this.methodsOf(protobuf, type) };
      const methods = Object.entries(generated).map(([name, code]) => `${name}: ${code.toString()}`);
      codecs.push(`((types) => ({ types, ${methods.join(',\n')} }))([])`);
      const types = type.fieldsArray.map(({ resolvedType }) =>
        resolvedType ? this.refer(resolvedType) : 'null',
      );
      if (types.some((each) => each !== 'null'))
        links.push(`${this.refer(type)}.types.push(${types.join(', ')});`);
    }
    return `const ${this.name} = [\n${codecs.join(',\n')}\n];\n${links.join('\n')}`;
  }
}

/** As protobufjs keeps them: ids by name, and, inherited, names by id. */
function enumSource({ values, valuesById }) {
  return `{ values: Object.assign(Object.create(${JSON.stringify(valuesById)}), ${JSON.stringify(values)}) }`;
}

module.exports = { AGENT_METHODS, staticCodecOf };

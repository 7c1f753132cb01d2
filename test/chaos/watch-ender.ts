/**
 * watch-ender.ts PORT ENDPOINT: an etcd that ends each watch with its first message. All else is passed on to the real one as it is.
 * Prints a line when it listens, and ends with its input.
 */
import {
  Client,
  Server,
  ServerCredentials,
  credentials,
  type MethodDefinition,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type sendUnaryData,
} from '@grpc/grpc-js';

type Method = MethodDefinition<Buffer, Buffer>;

const [port, endpoint] = process.argv.slice(2) as [string, string];
const etcd = new Client(new URL(endpoint).host, credentials.createInsecure());
const asIs = (bytes: Buffer): Buffer => bytes;

const UNARY = {
  KV: ['Range', 'Put', 'DeleteRange', 'Txn', 'Compact'],
  Lease: ['LeaseGrant', 'LeaseRevoke', 'LeaseTimeToLive'],
  Auth: ['Authenticate'],
};
const STREAMS = { Lease: ['LeaseKeepAlive'], Watch: ['Watch'] };

function method(service: string, name: string, isStream: boolean): Method {
  return {
    path: `/etcdserverpb.${service}/${name}`,
    requestStream: isStream,
    responseStream: isStream,
    requestSerialize: asIs,
    requestDeserialize: asIs,
    responseSerialize: asIs,
    responseDeserialize: asIs,
  };
}

function unary({ path }: Method) {
  return (call: ServerUnaryCall<Buffer, Buffer>, answer: sendUnaryData<Buffer>): void => {
    etcd.makeUnaryRequest(path, asIs, asIs, call.request, call.metadata, {}, (error, value) =>
      answer(error, value),
    );
  };
}

function stream({ path }: Method) {
  return (call: ServerDuplexStream<Buffer, Buffer>): void => {
    const onward = etcd.makeBidiStreamRequest(path, asIs, asIs, call.metadata, {});
    onward.on('error', () => call.end());
    call.on('cancelled', () => onward.cancel());
    call.on('data', (bytes: Buffer) => onward.write(bytes));
    call.on('end', () => onward.end());
    onward.on('data', (bytes: Buffer) => {
      call.write(bytes);
      if (!path.endsWith('/Watch')) return;
      call.end();
      onward.cancel();
    });
    onward.on('end', () => call.end());
  };
}

const server = new Server();
for (const [service, names] of Object.entries(UNARY)) {
  const streams = (STREAMS as Record<string, string[]>)[service] ?? [];
  const methods = [
    ...names.map((name) => [name, method(service, name, false)] as const),
    ...streams.map((name) => [name, method(service, name, true)] as const),
  ];
  server.addService(
    Object.fromEntries(methods),
    Object.fromEntries(methods.map(([name, m]) => [name, m.requestStream ? stream(m) : unary(m)])),
  );
}
const watch = method('Watch', 'Watch', true);
server.addService({ Watch: watch }, { Watch: stream(watch) });
server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error) => {
  if (error) throw error;
  console.log('listening');
});
process.stdin.resume().on('end', () => process.exit(0));

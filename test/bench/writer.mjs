/**
 * Runs beside etcd and writes leases. Each line of standard input is a JSON list of [key, value]: all of them are put at
 * once, and the answer is one line: CLOCK_MONOTONIC nanoseconds before the first put and after the last was acknowledged.
 */
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const { Etcd3 } = createRequire(import.meta.url)('etcd3');
const client = new Etcd3({ hosts: process.argv[2] });
await client.get('warm-up').exec();
process.stdout.write('ready\n');
for await (const line of createInterface({ input: process.stdin })) {
  const puts = JSON.parse(line);
  const before = Number(process.hrtime.bigint());
  await Promise.all(puts.map(([key, value]) => client.put(key).value(value).exec()));
  process.stdout.write(JSON.stringify({ before, after: Number(process.hrtime.bigint()) }) + '\n');
}
process.exit(0);

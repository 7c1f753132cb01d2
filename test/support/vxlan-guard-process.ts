/**
 * A VXLAN guard in the network namespace this program was started in: `tsx` runs it. Reads calls as JSON lines (`{ method,
 * args }`), and prints for each what it returned, `{ returned }`, or `{ thrown }`; first `{ returned: 'ready' }`.
 */
import { createInterface } from 'node:readline';
import { openVxlanGuard } from '../../src/kernel/firewall/vxlan-guard';

const guard = openVxlanGuard() as unknown as Readonly<Record<string, (...args: unknown[]) => unknown>>;
const say = (answer: object) => process.stdout.write(`${JSON.stringify(answer)}\n`);

say({ returned: 'ready' });
createInterface(process.stdin)
  .on('line', (line) => {
    const { method, args } = JSON.parse(line) as { method: string; args: unknown[] };
    try {
      say({ returned: guard[method]!(...args) });
    } catch (error) {
      say({ thrown: String(error) });
    }
  })
  .on('close', () => process.exit());

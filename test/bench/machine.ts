/** What was measured on. */
import { readFileSync } from 'node:fs';
import { cpus, release } from 'node:os';

export function machine(): string {
  const model = /^model name\s*:\s*(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? 'unknown';
  return `${cpus().length} × ${model}, Linux ${release()}, Node ${process.version}`;
}

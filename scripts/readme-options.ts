/** Writes the table of options in README.md anew, from the options themselves: `npx tsx scripts/readme-options.ts`. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { withOptionsTable } from '../src/cli/options-table';

const path = join(__dirname, '../README.md');
writeFileSync(path, withOptionsTable(readFileSync(path, 'utf8')));

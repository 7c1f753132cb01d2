/** `pages.ts DIRECTORY`: writes there what the packages say of the options. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { version } from '../../package.json';
import { completionFor, SHELLS } from '../../src/cli/completion';
import { configFileTemplate } from '../../src/cli/config-file-template';
import { manPage } from '../../src/cli/man-page';

const directory = process.argv[2]!;
writeFileSync(join(directory, 'vtepd.8'), manPage(version));
writeFileSync(join(directory, 'vtepd.conf'), configFileTemplate());
for (const shell of SHELLS) writeFileSync(join(directory, `completion.${shell}`), completionFor(shell));

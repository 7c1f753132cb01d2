/** `pages.ts DIRECTORY VERSION`: writes there what the packages say of the options. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { completionFor, SHELLS } from '../../src/cli/completion';
import { configFileTemplate } from '../../src/cli/config-file-template';
import { manPage } from '../../src/cli/man-page';

const [directory, version] = process.argv.slice(2) as [string, string];
writeFileSync(join(directory, 'vtepd.8'), manPage(version));
writeFileSync(join(directory, 'vtepd.conf'), configFileTemplate());
for (const shell of SHELLS) writeFileSync(join(directory, `completion.${shell}`), completionFor(shell));

/**
 * Stryker's runner for jest, with less to run for each mutant. By itself it loads each test file that imports the mutated file,
 * directly or not, and then skips the tests that do not reach the mutant. For a file that everything imports that takes ten
 * seconds for each mutant. This one loads only the files with such tests: first those named after the mutated file, which kill
 * most mutants, and the others only if the mutant survived.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { PluginKind, declareClassPlugin, declareFactoryPlugin } from '@stryker-mutator/api/plugin';
import { strykerPlugins as jestPlugins, strykerValidationSchema } from '@stryker-mutator/jest-runner';
import { ProgressReporter } from './progress.mjs';

/** In the sandbox, which all runners of one mutation run share: only one of them does the dry run. */
const TEST_FILES = '.mutation-test-files.json';

const createJestRunner = jestPlugins[0].factory;

function createRunner(injector) {
  const runner = createJestRunner(injector);
  const run = runner.run.bind(runner);
  const dryRun = runner.dryRun.bind(runner);
  const mutantRun = runner.mutantRun.bind(runner);
  let testFiles;

  runner.dryRun = async (options) => {
    const result = await dryRun(options);
    if (result.status === 'complete') {
      testFiles = filesByTest(result.tests);
      writeFileSync(TEST_FILES, JSON.stringify(testFiles));
    }
    return result;
  };
  runner.mutantRun = async (options) => {
    testFiles ??= existsSync(TEST_FILES) ? JSON.parse(readFileSync(TEST_FILES, 'utf8')) : {};
    const files = options.testFilter
      ? options.testFilter.flatMap((id) => testFiles[id] ?? [])
      : Object.values(testFiles).flat();
    const [own, others] = split([...new Set(files)], options.sandboxFileName);
    let result;
    for (const part of [own, others]) {
      if (part.length === 0) continue;
      runner.run = (settings) => run({ ...settings, fileNamesUnderTest: undefined, testFiles: part });
      try {
        result = await mutantRun(options);
      } finally {
        runner.run = run;
      }
      if (result.status !== 'survived') return result;
    }
    return result ?? mutantRun(options);
  };
  return runner;
}
createRunner.inject = createJestRunner.inject;

/** Tests of different files can have one name. */
function filesByTest(tests) {
  const files = {};
  for (const { id, fileName } of tests) (files[id] ??= []).push(fileName);
  return files;
}

/** Test files named after the source file, for example plan.test.ts and masquerade-plan.test.ts after plan.ts; and the others. */
function split(files, source) {
  const name = basename(source, '.ts').replace(/-codec$/, '');
  const isOwn = (file) => basename(file).includes(name);
  return [files.filter(isOwn), files.filter((file) => !isOwn(file))];
}

export const strykerPlugins = [
  declareFactoryPlugin(PluginKind.TestRunner, 'jest-by-file', createRunner),
  declareClassPlugin(PluginKind.Reporter, 'by-minute', ProgressReporter),
];
export { strykerValidationSchema };

/** Mutation tests: `scripts/test --mutation PATH…`, which also says which files are mutated; see docs/testing.md. */
export default {
  plugins: ['./scripts/mutation/runner.mjs'],
  testRunner: 'jest-by-file',
  jest: {
    projectType: 'custom',
    configFile: 'scripts/mutation/jest.config.cjs',
    enableFindRelatedTests: true,
  },
  coverageAnalysis: 'perTest',
  // What only runs when a module is loaded would need each test that loads the module: minutes for each file.
  ignoreStatic: true,
  // swc takes the types away without a look at them: a mutant with a wrong type is run like any other.
  checkers: [],
  disableTypeChecks: false,
  concurrency: Number(process.env.VTEPD_MUTATION_CONCURRENCY ?? 2),
  // What hangs is found by the number of times that the mutant ran; these limits are there for what hangs elsewhere, and are so wide
  // that a busy machine does not reach them: a mutant that takes too long counts as killed.
  dryRunTimeoutMinutes: 60,
  timeoutMS: 60_000,
  timeoutFactor: 4,
  tempDirName: '.stryker-tmp',
  // The copy in which mutants run needs no more than the unit tests. The addon is needed as it was built.
  ignorePatterns: ['/dist', '/.tools', '/test/e2e', '/test/chaos', '/test/bench', '/coverage'],
  reporters: ['by-minute'],
  logLevel: 'warn',
  allowConsoleColors: false,
};

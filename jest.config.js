/** The levels of test. kernel and e2e need root and make their own network namespaces; etcd needs a real etcd. */
const level = (name, extra = {}) => ({
  displayName: name,
  rootDir: __dirname,
  testMatch: [`<rootDir>/test/${name}/**/*.test.ts`],
  testEnvironment: 'node',
  setupFilesAfterEnv: ['<rootDir>/test/support/property-seed.ts'],
  // This very package, once more: other revisions (scripts/build-revision), and mutants.
  modulePathIgnorePatterns: ['<rootDir>/.tools/', '<rootDir>/.stryker-tmp/'],
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      { jsc: { target: 'es2022', parser: { syntax: 'typescript' } }, module: { type: 'commonjs' } },
    ],
  },
  ...extra,
});

module.exports = {
  // What hangs only: most tests take milliseconds, and a busy machine may need minutes for what takes ten seconds.
  testTimeout: 600_000,
  projects: [
    level('unit'),
    level('simulation'),
    level('native'),
    level('kernel'),
    level('etcd'),
    level('e2e', {
      setupFilesAfterEnv: ['property-seed.ts', 'lab/patience.ts'].map(
        (name) => `<rootDir>/test/support/${name}`,
      ),
    }),
  ],
};

/** How large the program is: what a package brings, without maps and V8's cache, which are made where it is installed. */
import { readdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { AGENT } from '../support/lab/agent';
import { figure, type Figure } from './figures';

/** A release brings new code; that is not what this is about. */
const ALLOWANCE = 0.1;

export function benchSize(): Promise<Figure[]> {
  const dist = dirname(AGENT);
  const javaScript = readdirSync(dist, { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.js'),
  );
  const addon = join(dist, '../native/build/Release/vtepd.node');
  return Promise.resolve([
    figure('program: JavaScript', 'kB', [kilobytesOf(javaScript.map((name) => join(dist, name)))], {
      allowance: ALLOWANCE,
    }),
    figure('program: addon', 'kB', [kilobytesOf([addon])], { allowance: ALLOWANCE }),
  ]);
}

function kilobytesOf(files: readonly string[]): number {
  return files.reduce((sum, file) => sum + statSync(file).size, 0) / 1000;
}

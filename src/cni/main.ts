#!/usr/bin/env node
/**
 * The process edge of the CNI plugin: request in, answer out. It runs once for every container, so it imports nothing but
 * Node's own modules and two small ones of ours, and works without a turn of the event loop.
 */
import { readFileSync, writeSync } from 'node:fs';
import { answer } from './plugin';

const { output, remark, exitCode } = answer(process.env, () => readFileSync(0, 'utf8'));
write(2, remark);
write(1, output);
process.exitCode = exitCode;

/** process.stdout would cost a few milliseconds to make. */
function write(descriptor: number, text: string): void {
  const bytes = Buffer.from(text);
  for (let written = 0; written < bytes.length;) written += writeSync(descriptor, bytes, written);
}

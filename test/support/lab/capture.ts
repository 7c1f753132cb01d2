/** What really goes over the wire, as tcpdump sees it. */
import type { ChildProcess } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { openSync } from 'node:fs';
import { exitOf, run } from './command';
import type { Namespace } from './namespace';
import { until } from './until';

/** A capture on one interface of a namespace. */
export class Capture {
  private constructor(
    private readonly process: ChildProcess,
    private readonly file: string,
  ) {}

  /** Starts tcpdump; when this returns, it sees every packet. `file` is where the packets go. */
  static async start(namespace: Namespace, link: string, filter: string, file: string): Promise<Capture> {
    const words = openSync(`${file}.log`, 'w');
    // Not as another user, who could not write where we want it.
    const args = ['-U', '-n', '--immediate-mode', '-Z', 'root', '-i', link, '-w', file, filter];
    const process = namespace.start('tcpdump', args, { stdio: ['ignore', words, words] });
    await until('tcpdump listens', () => readFileSync(`${file}.log`, 'utf8').includes('listening on'));
    return new Capture(process, file);
  }

  /** Returns the packets as text once there are at least `count`, and ends the capture. */
  async take(count: number, withinMilliseconds?: number): Promise<string[]> {
    const packets = await until(
      `tcpdump saw ${count} packets`,
      async () => enough(await this.#decode(), count),
      {
        withinMilliseconds,
      },
    );
    await this.end();
    return packets;
  }

  /** Ends the capture; returns all it saw. */
  async end(): Promise<string[]> {
    this.process.kill('SIGINT');
    await exitOf(this.process);
    return this.#decode();
  }

  /** One string per packet. flannel's port is another protocol's by number, so tcpdump has to be told that it is VXLAN. */
  async #decode(): Promise<string[]> {
    if (!existsSync(this.file)) return [];
    const text = await run('tcpdump', ['-T', 'vxlan', '-tt', '-n', '-e', '-r', this.file]).catch(() => '');
    return text.split(/\n(?=\d{10}\.\d)/).filter((packet) => packet.trim() !== '');
  }
}

function enough(packets: string[], count: number): string[] | undefined {
  return packets.length >= count ? packets : undefined;
}

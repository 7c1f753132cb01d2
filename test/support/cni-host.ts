/** A host on which containers get their network by CNI: a network namespace, vtepd-cni and Debian's plugins. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { CommandResult } from './lab/command';
import type { Host } from './lab/host';
import { Namespace } from './lab/namespace';

/** The plugin under test: as `scripts/setup` builds it, or another that $VTEPD_CNI names (an installed package's). */
export const CNI_PLUGIN = process.env['VTEPD_CNI'] ?? resolve(__dirname, '../../dist/cni/main.js');

/** Where Debian's containernetworking-plugins are. */
export const DELEGATES = '/usr/lib/cni';

export interface CniResult {
  readonly cniVersion: string;
  readonly interfaces: readonly { readonly name: string; readonly sandbox?: string }[];
  readonly ips: readonly { readonly address: string; readonly gateway: string }[];
  readonly routes: readonly { readonly dst: string; readonly gw?: string }[];
}

export interface CniError {
  readonly code: number;
  readonly msg: string;
  readonly details?: string;
}

/** How a request is made; what is left out is as for any container. */
export interface CniRequest {
  readonly conf?: object;
  readonly environment?: NodeJS.ProcessEnv;
}

let made = 0;

export class CniHost {
  /** Which build of the plugin the runtime starts. */
  plugin = CNI_PLUGIN;
  readonly namespace: Namespace;
  readonly directory = mkdtempSync(join(tmpdir(), 'vtepd-cni-host-'));
  readonly #prefix = `vc-${process.pid}-${made++}`;
  readonly #made: Namespace[] = [];

  /** On a host of the lab, or on one that is nothing but a namespace. */
  constructor(private readonly labHost?: Host) {
    if (!existsSync(join(DELEGATES, 'bridge')))
      throw new Error(`there is no ${DELEGATES}/bridge: install Debian's containernetworking-plugins`);
    removeAbandoned();
    this.namespace = labHost?.namespace ?? this.#make('h');
  }

  /** What subnet.env says to the plugin. */
  writeSubnetFile(values: Readonly<Record<string, string>>): void {
    const lines = Object.entries(values).map(([name, value]) => `FLANNEL_${name}=${value}\n`);
    writeFileSync(this.subnetFile, lines.join(''));
  }

  get subnetFile(): string {
    return this.labHost?.agent.subnetFile ?? join(this.directory, 'subnet.env');
  }

  /** The containers whose delegate's configuration is saved. */
  get saved(): string[] {
    const directory = join(this.directory, 'data');
    return existsSync(directory) ? readdirSync(directory) : [];
  }

  /** The addresses that host-local has given out. */
  get allocated(): string[] {
    const directory = join(this.directory, 'ipam', 'net');
    return existsSync(directory) ? readdirSync(directory).filter((name) => /^[\da-f]+[.:_]/.test(name)) : [];
  }

  /** A container without network; its namespace's name is its ID. */
  container(): Namespace {
    return this.#make(`c${this.#made.length}`);
  }

  /** As a runtime makes the request: how the plugin ended, and what it said. */
  request(command: string, container: Namespace, request: CniRequest = {}): Promise<CommandResult> {
    const [program, ...args] = this.commandLine();
    return this.namespace.attempt(program!, args, {
      env: this.environment(command, container, request.environment),
      input: this.conf(request.conf),
    });
  }

  commandLine(): string[] {
    return [process.execPath, this.plugin];
  }

  /** Nothing else is inherited: what the tests' own environment has (a list of certificates, say) would cost Node time. */
  environment(command: string, container: Namespace, more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
    return {
      PATH: process.env['PATH'],
      CNI_COMMAND: command,
      CNI_CONTAINERID: container.name,
      CNI_NETNS: container.path,
      CNI_IFNAME: 'eth0',
      CNI_PATH: DELEGATES,
      ...more,
    };
  }

  /** The network's configuration, with everything of this host in its directory. */
  conf(more: object = {}): string {
    return JSON.stringify({
      cniVersion: '1.0.0',
      name: 'net',
      type: 'flannel',
      subnetFile: this.subnetFile,
      dataDir: join(this.directory, 'data'),
      delegate: { bridge: 'cni0', isDefaultGateway: true },
      ipam: { dataDir: join(this.directory, 'ipam') },
      ...more,
    });
  }

  /** ADD that must succeed. */
  async add(container: Namespace, request?: CniRequest): Promise<CniResult> {
    return JSON.parse(await this.#succeed('ADD', container, request)) as CniResult;
  }

  /** DEL that must succeed. */
  async remove(container: Namespace, request?: CniRequest): Promise<void> {
    expect(await this.#succeed('DEL', container, request)).toBe('');
  }

  /** CHECK that must succeed. */
  async check(container: Namespace, prevResult: CniResult, conf: object = {}): Promise<void> {
    expect(await this.#succeed('CHECK', container, { conf: { ...conf, prevResult } })).toBe('');
  }

  /** A request that must fail: the error. */
  async fail(command: string, container: Namespace, request?: CniRequest): Promise<CniError> {
    const { status, stdout } = await this.request(command, container, request);
    expect(status).toBe(1);
    return JSON.parse(stdout) as CniError;
  }

  /** Installs a program in the place of a delegate; returns the CNI_PATH that finds it first. */
  putDelegate(name: string, script: string): string {
    const directory = join(this.directory, 'bin');
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    return `${directory}:${DELEGATES}`;
  }

  /** Removes all of it. */
  end(): void {
    for (const { name } of this.#made) removeNamespace(name);
    rmSync(this.directory, { recursive: true, force: true });
  }

  async #succeed(command: string, container: Namespace, request?: CniRequest): Promise<string> {
    const { status, stdout, stderr } = await this.request(command, container, request);
    if (status !== 0) throw new Error(`${command} failed: ${stdout}${stderr}`);
    return stdout;
  }

  #make(suffix: string): Namespace {
    const name = `${this.#prefix}-${suffix}`;
    const namespace = new Namespace(name);
    this.#made.push(namespace);
    execFileSync('ip', ['netns', 'add', name]);
    execFileSync('ip', ['-n', name, 'link', 'set', 'lo', 'up']);
    return namespace;
  }
}

/** Namespaces of a test process that was killed. */
function removeAbandoned(): void {
  for (const name of existsSync('/run/netns') ? readdirSync('/run/netns') : []) {
    const pid = /^vc-(\d+)-\d+-\w+$/.exec(name)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) removeNamespace(name);
  }
}

/** One that is gone already is no error: another test process may remove the same. */
function removeNamespace(name: string): void {
  if (existsSync(`/run/netns/${name}`)) execFileSync('ip', ['netns', 'del', name], { stdio: 'ignore' });
}

/** What `vtepd --help` and `vtepd help COMMAND` print. */
import { GROUPS, OPTIONS, OPTION_KEYS, dashed, type OptionKey, type OptionSpec } from './options';

const WIDTH = 80;
const COLUMN = 29;

/** Each command: how it is written, what it does in a line, and what there is to say about it. */
export const COMMANDS = {
  run: {
    usage: ['vtepd [OPTION…]'],
    summary: ['runs the agent: as root, on every host'],
    details: `Leases a subnet from etcd, makes the VXLAN device flannel.<VNI>, tells the
kernel where the other hosts' subnets are, and writes the subnet file when all
of that is in place. What is missing (etcd, the configuration, the interface) is
said and waited for. Stopping it leaves lease and kernel state as they are:
packets flow while it is away.`,
  },
  config: {
    usage: ['vtepd config set [--dry-run] FILE', 'vtepd config get [--raw]', 'vtepd config check [FILE]'],
    summary: [
      'checks a network configuration and stores it',
      'shows the stored one, every default filled in',
      'checks a file, or the stored configuration',
    ],
    details: `The network configuration is flannel's JSON, for all hosts, in etcd at
<etcd-prefix>/config. FILE may be -, for standard input. 'set' stores only what
is right, says what it changes, and changes nothing if somebody else did
meanwhile; with --dry-run it stores nothing. 'get --raw' shows the text as it is
stored.`,
  },
  status: {
    usage: ['vtepd status [--json] [--peers]'],
    summary: ['what the running agent says of itself'],
    details: `Its lease, its peers, what it repaired, and everything that is not well, with
the reason and since when. --peers lists every peer; --json is one object, for
programs. The agent answers root and the members of its group (the package's is
vtepd). The exit code is 0 if it is ready; 1 if it is not, or if there is none;
4 if you may not ask it.`,
  },
  leave: {
    usage: ['vtepd leave'],
    summary: ["gives this host's lease back, and cleans up"],
    details: `Deletes the leases with our PublicIP from etcd (not reservations), and removes
everything of ours from the kernel. Stop the agent first: while one runs, this
refuses, and changes nothing. With the options that the agent runs with: they
say which etcd, and which PublicIP is ours. With --embedded-etcd the host's own
etcd is started for as long as this takes.`,
  },
  cleanup: {
    usage: ['vtepd cleanup', 'vtepd cleanup --for-flannel'],
    summary: ['removes our device and routes, keeps the lease', 'the same, but leaves the device to flannel'],
    details: `Removes everything of ours from the kernel, and leaves etcd alone. Stop the
agent first: while one runs, this refuses. A later start finds the same lease.

With --for-flannel, on a host that goes back to flannel: stop the agent, start
flanneld, then run this. It removes our routes and rules, and leaves the device
that flannel has taken over, so that no packet is lost.`,
  },
  'docker-opts': {
    usage: ['vtepd docker-opts'],
    summary: ["writes Docker's options for our subnet"],
    details: `From subnet.env, as flannel's mk-docker-opts.sh does, with its options:
'vtepd docker-opts --help' lists them.`,
  },
  completion: {
    usage: ['vtepd completion SHELL'],
    summary: ['completion for bash, zsh or fish'],
    details: `Prints a script that makes the shell complete commands, options and values:
  source <(vtepd completion bash)        in ~/.bashrc
  source <(vtepd completion zsh)         in ~/.zshrc, behind compinit
  vtepd completion fish | source         in ~/.config/fish/config.fish
The Debian package brings all three along.`,
  },
  help: {
    usage: ['vtepd help [COMMAND]'],
    summary: ['this page, or more about a command'],
    details: '',
  },
} as const;

export type CommandName = keyof typeof COMMANDS;

export const COMMAND_NAMES = Object.keys(COMMANDS) as CommandName[];

export const INTRODUCTION = `vtepd connects the containers of plain Linux hosts: each host leases a subnet
from etcd, and the kernel carries packets between them by VXLAN. It speaks
flannel's protocol, takes flannel's options, and can share an overlay with it.`;

const EXAMPLE = `
First steps:
  # without an etcd, on the first host; it prints what to run on the next
  vtepd --embedded-etcd --iface=eth1
  # with one: once, from anywhere that reaches etcd
  echo '{"Network": "10.5.0.0/16", "Backend": {"Type": "vxlan"}}' |
    vtepd config set - --etcd-endpoints=http://10.0.0.1:2379
  # on each host, as root
  vtepd --etcd-endpoints=http://10.0.0.1:2379 --iface=eth1
  # then Docker
  . /run/flannel/subnet.env
  dockerd --bip="$FLANNEL_SUBNET" --mtu="$FLANNEL_MTU"
`;

export const EXIT_CODES = [
  ['0', 'stopped as asked, or done'],
  ['1', 'it could not go on, and said why'],
  ['2', 'the command line, the environment or vtepd.conf is wrong'],
  ['3', 'another host has our subnet, and --subnet-lost=stop'],
  ['4', 'vtepd status: you may not ask the agent; root and its group may'],
] as const;

export const SIGNALS = [
  ['SIGTERM, SIGINT', 'stop; lease and kernel state stay, and so does the traffic'],
  ['SIGHUP', 'read and compare everything anew'],
  ['SIGUSR1, SIGUSR2', 'make the log one step more verbose, or less'],
] as const;

const ENDING = `
Exit codes:
${EXIT_CODES.map(([code, meaning]) => `  ${code}  ${meaning}\n`).join('')}
Signals:
${SIGNALS.map(([names, meaning]) => `  ${names.padEnd(18)}${meaning}\n`).join('')}`;

/** The whole page. */
export function helpPage(): string {
  return [
    `${INTRODUCTION}\n\nUsage:\n${COMMAND_NAMES.map(usageOf).join('')}`,
    EXAMPLE,
    `\n${optionsPage()}`,
    ENDING,
  ].join('');
}

/** About one command. */
export function commandHelp(name: CommandName): string {
  const { details } = COMMANDS[name];
  return `Usage:\n${usageOf(name)}\n${details}\n\nOptions: see 'vtepd --help'.\n`;
}

function usageOf(name: CommandName): string {
  const { usage, summary } = COMMANDS[name];
  return usage.map((line, index) => `  ${line.padEnd(COLUMN - 2)}${summary[index]}\n`).join('');
}

function optionsPage(): string {
  const groups = Object.entries(GROUPS).map(([group, title]) => {
    const keys = OPTION_KEYS.filter((key) => OPTIONS[key].group === group);
    return `\n${title}:\n${keys.map(optionHelp).join('')}`;
  });
  const introduction = wrap(
    'Options, with one dash or two, before or behind the command. Each can be set in the environment instead, as ' +
      'FLANNELD_ and its name: FLANNELD_ETCD_ENDPOINTS; or, without dashes, in the file that --config-file names. The ' +
      'command line wins, then the environment.',
    WIDTH,
  );
  return `${introduction.join('\n')}\n${groups.join('')}\nAbout vtepd:\n${optionLines('-h, --help', 'This page.')}${optionLines('--version', 'The version.')}`;
}

function optionHelp(key: OptionKey): string {
  const { name, placeholder, fallback, help } = OPTIONS[key] as OptionSpec<unknown>;
  const value = placeholder === undefined ? '' : name.length === 1 ? ` ${placeholder}` : `=${placeholder}`;
  const shown = fallback === undefined ? '' : ` [${fallback}]`;
  return optionLines(`${dashed(name)}${value}`, `${help.replaceAll('`', '')}${shown}`);
}

/** The name, and beside it the text; below it where the name is too long. */
function optionLines(name: string, text: string): string {
  const lines = wrap(text, WIDTH - COLUMN).map((line) => ' '.repeat(COLUMN) + line);
  const beginning = `  ${name}`;
  if (beginning.length + 1 < COLUMN) lines[0] = beginning.padEnd(COLUMN) + lines[0]!.trimStart();
  else lines.unshift(beginning);
  return `${lines.join('\n')}\n`;
}

/** Lines of at most `width` characters, unless a word is longer. */
export function wrap(text: string, width: number): string[] {
  const lines = [''];
  for (const word of text.split(' ')) {
    const line = lines.at(-1)!;
    if (line === '') lines[lines.length - 1] = word;
    else if (line.length + 1 + word.length <= width) lines[lines.length - 1] = `${line} ${word}`;
    else lines.push(word);
  }
  return lines;
}

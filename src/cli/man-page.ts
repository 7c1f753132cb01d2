/** vtepd(8) as roff, from the tables of options and commands. */
import { COMMANDS, COMMAND_NAMES, EXIT_CODES, INTRODUCTION, SIGNALS } from './help';
import { GROUPS, OPTIONS, OPTION_KEYS, dashed, variableOf, type OptionKey, type OptionSpec } from './options';

const FILES = [
  ['/etc/vtepd/vtepd.conf', 'Options, one name=value a line; see --config-file.'],
  [
    '/run/flannel/subnet.env',
    'What this host got: its subnet, the network, the MTU. Written when packets can flow.',
  ],
  ['/var/lib/vtepd/state.json', 'What was last seen in etcd, for a start without it.'],
  ['/var/lib/vtepd/etcd, /var/lib/vtepd/etcd.log', 'Data and log of the etcd of --embedded-etcd.'],
  ['/usr/lib/cni/flannel', 'The CNI plugin, under the name that runtimes look for.'],
] as const;

/** The page for `man`; reads the same for the same version. */
export function manPage(version: string): string {
  return [
    `.TH VTEPD 8 "" "vtepd ${version}" "System Administration"`,
    section('NAME'),
    'vtepd \\- VXLAN overlay agent, compatible with flannel',
    section('SYNOPSIS'),
    ...COMMAND_NAMES.flatMap((name) => COMMANDS[name].usage).flatMap((line) => [
      roff(line).replace(/^vtepd/, '\\fBvtepd\\fR'),
      '.br',
    ]),
    section('DESCRIPTION'),
    ...paragraphs(INTRODUCTION),
    section('COMMANDS'),
    ...COMMAND_NAMES.flatMap((name) => {
      const { usage, details } = COMMANDS[name];
      return [
        ...usage.flatMap((line, index) => [index === 0 ? '.TP' : '.TQ', `\\fB${roff(line)}\\fR`]),
        ...(details === '' ? [roff(COMMANDS[name].summary[0])] : paragraphs(details)),
      ];
    }),
    section('OPTIONS'),
    roff(
      'Options have one dash or two, and stand before or behind the command. The command line wins over the environment, ' +
        'the environment over the file, the file over the defaults.',
    ),
    ...Object.entries(GROUPS).flatMap(([group, title]) => [
      `.SS "${title}"`,
      ...OPTION_KEYS.filter((key) => OPTIONS[key].group === group).flatMap(optionEntry),
    ]),
    section('ENVIRONMENT'),
    roff('Each option can be set by a variable; an empty one counts as unset.'),
    ...OPTION_KEYS.map((key) => OPTIONS[key].name).flatMap((name) => [
      '.TP',
      `\\fB${roff(variableOf(name))}\\fR`,
      `as \\fB${roff(dashed(name))}\\fR`,
    ]),
    section('FILES'),
    ...list(FILES),
    section('SIGNALS'),
    ...list(SIGNALS),
    section('EXIT STATUS'),
    ...list(EXIT_CODES),
    section('EXAMPLES'),
    'The network, once, from anywhere that reaches etcd:',
    ...example(
      `echo '{"Network": "10.5.0.0/16", "Backend": {"Type": "vxlan"}}' |`,
      '  vtepd config set - --etcd-endpoints=http://10.0.0.1:2379',
    ),
    'Then on each host:',
    ...example(
      'echo etcd-endpoints=http://10.0.0.1:2379 >> /etc/vtepd/vtepd.conf',
      'systemctl enable --now vtepd',
    ),
    "For a first try, an etcd of the first host's own; it prints the line for the next host:",
    ...example('vtepd --embedded-etcd --network=10.5.0.0/16 --iface=eth1'),
    section('SEE ALSO'),
    '\\fBip\\fR(8), \\fBbridge\\fR(8), \\fBetcd\\fR(1), \\fBsystemctl\\fR(1)',
    '',
  ].join('\n');
}

function optionEntry(key: OptionKey): string[] {
  const { name, placeholder, fallback, help, since } = OPTIONS[key] as OptionSpec<unknown>;
  const separator = name.length === 1 ? ' ' : '=';
  const value = placeholder === undefined ? '' : `${separator}\\fI${roff(placeholder)}\\fR`;
  const facts = [
    ...(fallback === undefined ? [] : [`Default: ${roff(fallback)}.`]),
    ...(since === undefined ? ['Not in flannel.'] : []),
  ];
  return ['.TP', `\\fB${roff(dashed(name))}\\fR${value}`, [code(help), ...facts].join(' ')];
}

function section(title: string): string {
  return `.SH ${title}`;
}

function list(entries: readonly (readonly [string, string])[]): string[] {
  return entries.flatMap(([term, meaning]) => ['.TP', `\\fB${roff(term)}\\fR`, roff(meaning)]);
}

/** Lines that begin with a blank are kept as they are. */
function paragraphs(text: string): string[] {
  return text.split('\n').flatMap((line) => (line.startsWith(' ') ? ['.br', roff(line)] : [roff(line)]));
}

function example(...lines: string[]): string[] {
  return ['.PP', '.RS 4', '.nf', ...lines.map(roff), '.fi', '.RE', '.PP'];
}

function code(text: string): string {
  return roff(text).replace(/`([^`]*)`/g, '\\fB$1\\fR');
}

/** Text as roff prints it: with real hyphens and quotes, and no line that it would take for a request. */
function roff(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll("'", '\\(aq')
    .replaceAll('~', '\\(ti')
    .replaceAll('^', '\\(ha')
    .replace(/^\./, '\\&.');
}

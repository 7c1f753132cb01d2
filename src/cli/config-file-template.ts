/** The vtepd.conf that an administrator finds after installing: every option, explained, none set. */
import { wrap } from './help';
import { GROUPS, OPTIONS, OPTION_KEYS, type OptionKey, type OptionSpec } from './options';

const WIDTH = 100;

const INTRODUCTION =
  "vtepd's options, as 'vtepd --help' lists them, without dashes: name=value, one a line. The command line and the variables " +
  '(FLANNELD_ETCD_ENDPOINTS and so on) win over this file. Behind a change: systemctl restart vtepd. No packet is lost by that.';

/** The file's text. What each line shows is the default, or what the value looks like where there is none. */
export function configFileTemplate(): string {
  const groups = Object.entries(GROUPS).flatMap(([group, title]) => [
    '',
    `# ${title}`,
    ...OPTION_KEYS.filter((key) => OPTIONS[key].group === group && key !== 'configFile').flatMap(entry),
  ]);
  return [...comment(INTRODUCTION), ...groups, ''].join('\n');
}

function entry(key: OptionKey): string[] {
  const { name, placeholder, fallback, help } = OPTIONS[key] as OptionSpec<unknown>;
  return ['', ...comment(help.replaceAll('`', '')), `#${name}=${fallback ?? placeholder}`];
}

function comment(text: string): string[] {
  return wrap(text, WIDTH - 2).map((line) => `# ${line}`);
}

/** The options of `vtepd docker-opts`: mk-docker-opts.sh's letters, read as getopts reads them, and one more. */

export interface DockerOptsChoices {
  readonly kind: 'run';
  readonly envFile: string;
  /** `-` is standard output. */
  readonly outputFile: string;
  /** A line for each option. */
  readonly individual: boolean;
  /** One line with all options. */
  readonly combined: boolean;
  /** Name of the variable with all options. */
  readonly combinedKey: string;
  readonly withIpMasq: boolean;
  /** Fail when subnet.env is missing or incomplete, instead of writing less. */
  readonly isRequired: boolean;
  /** Wait until subnet.env is there and complete. */
  readonly waits: boolean;
}

export interface DockerOptsUsage {
  readonly kind: 'usage';
  readonly text: string;
  /** By --help: no mistake. */
  readonly isAsked: boolean;
}

export const DOCKER_OPTS_USAGE = `vtepd docker-opts [-f SUBNET-ENV-FILE] [-d DOCKER-ENV-FILE] [-i] [-c] [-m] [-k COMBINED-KEY] [--require | --wait]

Writes the options that make Docker use this host's subnet, from subnet.env.
OPTIONS:
  -f FILE    what vtepd (or flanneld) wrote. Defaults to /run/flannel/subnet.env
  -d FILE    environment file to write; - is standard output. Defaults to
             /run/docker_opts.env
  -i         write each option as a variable of its own: DOCKER_OPT_MTU="--mtu=1450"
  -c         write all options as one variable. Neither -i nor -c: both
  -k KEY     name of that variable. Defaults to DOCKER_OPTS. What it holds in the
             environment stays in front
  -m         leave --ip-masq out
  --require  fail, and write nothing, when subnet.env is missing or incomplete
  --wait     wait, and say so, until it is there and complete
`;

/** What these words (behind the command's name) ask for. Never throws: what makes no sense is answered with the usage. */
export function parseDockerOptsArguments(words: readonly string[]): DockerOptsChoices | DockerOptsUsage {
  const values: { f: string; d: string; k: string } = {
    f: '/run/flannel/subnet.env',
    d: '/run/docker_opts.env',
    k: 'DOCKER_OPTS',
  };
  const flags = new Set<string>();
  const rest = [...words];
  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    if (word === '--help') return { kind: 'usage', text: `Usage: ${DOCKER_OPTS_USAGE}`, isAsked: true };
    if (word === '--require' || word === '--wait') {
      flags.add(word.slice(2));
      continue;
    }
    if (!/^-[^-]/.test(word)) return usage(`there is no argument '${word}'`);
    for (let letters = word.slice(1); letters !== '';) {
      const letter = letters[0]!;
      letters = letters.slice(1);
      if ('icm'.includes(letter)) {
        flags.add(letter);
      } else if (letter === 'f' || letter === 'd' || letter === 'k') {
        const value = letters || rest.shift();
        if (!value) return usage(`-${letter} needs a value`);
        values[letter] = value;
        letters = '';
      } else {
        // -h and -? are answered like any mistake, as the script does.
        return usage('h?'.includes(letter) ? undefined : `there is no option -${letter}`);
      }
    }
  }
  if (!/^[A-Za-z_]\w*$/.test(values.k)) return usage(`-k must be the name of a variable, not '${values.k}'`);
  const both = !flags.has('i') && !flags.has('c');
  return {
    kind: 'run',
    envFile: values.f,
    // Opened anew it would be truncated, where it is a file.
    outputFile: values.d === '/dev/stdout' ? '-' : values.d,
    individual: both || flags.has('i'),
    combined: both || flags.has('c'),
    combinedKey: values.k,
    withIpMasq: !flags.has('m'),
    isRequired: flags.has('require'),
    waits: flags.has('wait'),
  };
}

function usage(mistake?: string): DockerOptsUsage {
  const first = mistake === undefined ? '' : `vtepd docker-opts: ${mistake}\n`;
  return { kind: 'usage', text: `${first}Usage: ${DOCKER_OPTS_USAGE}`, isAsked: false };
}

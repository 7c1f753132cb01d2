/** Where in a filter the overlay's packets would be dropped. */

/** What a rule says about an interface; names may end in a wildcard, `*` or `+`. */
export interface InterfaceMatch {
  readonly names: readonly string[];
  readonly negated: boolean;
}

export interface FilterRule {
  readonly input: InterfaceMatch | undefined;
  readonly output: InterfaceMatch | undefined;
  /** It looks at more than interfaces: a special case that somebody made on purpose, and that goes before us. */
  readonly isSpecial: boolean;
  readonly action:
    | 'accept'
    | 'drop'
    | 'return'
    | 'other'
    /** By a map, which says for each interface where to go on: to any chain of the table, for all we know. */
    | 'jump by map'
    | { readonly jump: string; readonly isFinal: boolean };
}

/** The chains of one table, one of which forwarded packets pass. */
export interface Filter {
  readonly chains: ReadonlyMap<string, readonly FilterRule[]>;
  readonly base: string;
  readonly dropsByPolicy: boolean;
  readonly outside: Outside;
}

/** Names of interfaces that no container is behind, and so no way of the overlay's packets between containers. */
export type Outside = ReadonlySet<string>;

/** A link that no rule names. */
export const ANY_LINK = '';

/** Chains call chains no deeper (the kernel's own limit for nftables is 16). */
const DEEPEST_CALL = 16;

/**
 * The place (counted from 0) of the first rule of the base chain by which the overlay's traffic as such would be dropped:
 * what comes in by the link or goes out by it, or just everything. Behind the last rule if the policy does it; undefined if
 * nothing does. What we insert there lets the overlay pass, and leaves all that goes before in force: an administrator's
 * special cases, Docker's isolation of its networks. See {@link isInPlace}.
 */
export function dropPosition(filter: Filter, link: string): number | undefined {
  const flows: Flow[] = [{ input: link }, { output: link }, {}];
  const positions = flows.map((flow) => walk(filter, flow)).filter((position) => position !== undefined);
  return positions.length > 0 ? Math.min(...positions) : undefined;
}

/**
 * True if what lets the overlay pass stands right there, behind so many rules of others in the base chain. The right place is
 * the one directly before the first rule that drops the overlay as such (`latest`: how many rules go before it), and the end
 * without one. It depends on what is there now alone: a rule that came and went leaves no trace. Farther in front we would
 * hide from the overlay's packets what others decide about them; only rules that accept decide as we do.
 */
export function isInPlace(rules: readonly FilterRule[], latest: number, at: number): boolean {
  return at <= latest && rules.slice(at, latest).every(({ action }) => action === 'accept');
}

/** A side that is not named is unknown; if neither is, only what asks for no interface at all concerns it. */
interface Flow {
  readonly input?: string;
  readonly output?: string;
}

function walk(filter: Filter, flow: Flow): number | undefined {
  const rules = filter.chains.get(filter.base) ?? [];
  for (const [position, rule] of rules.entries()) {
    const outcome = outcomeOf(rule, filter, flow, 0);
    if (outcome === 'drop') return position;
    if (outcome === 'accept') return undefined;
    if (outcome === 'end') break;
  }
  return filter.dropsByPolicy ? rules.length : undefined;
}

/** `end`: the chain that the rule stands in is left, as by `return`. */
type Outcome = 'drop' | 'accept' | 'end' | 'next';

function outcomeOf(rule: FilterRule, filter: Filter, flow: Flow, depth: number): Outcome {
  if (rule.isSpecial) return 'next';
  const match = matchOf(rule, flow, filter.outside);
  if (match === 'no') return 'next';
  let outcome: Outcome;
  if (rule.action === 'jump by map') {
    const others =
      depth < DEEPEST_CALL ? [...filter.chains.keys()].filter((name) => name !== filter.base) : [];
    const mayDrop = others.some((name) => outcomeOfChain(name, filter, flow, DEEPEST_CALL) === 'drop');
    outcome = mayDrop ? 'drop' : 'next';
  } else if (typeof rule.action === 'object') {
    const { jump, isFinal } = rule.action;
    outcome = depth < DEEPEST_CALL ? outcomeOfChain(jump, filter, flow, depth + 1) : 'next';
    if (outcome === 'end') outcome = isFinal ? 'end' : 'next';
    else if (outcome === 'next' && isFinal) outcome = 'end';
  } else {
    outcome = OUTCOMES[rule.action];
  }
  // What only may match saves nobody, but may well drop.
  return match === 'maybe' && outcome !== 'drop' ? 'next' : outcome;
}

const OUTCOMES = { accept: 'accept', drop: 'drop', return: 'end', other: 'next' } as const;

function outcomeOfChain(name: string, filter: Filter, flow: Flow, depth: number): Outcome {
  for (const rule of filter.chains.get(name) ?? []) {
    const outcome = outcomeOf(rule, filter, flow, depth);
    if (outcome !== 'next') return outcome;
  }
  return 'next';
}

function matchOf({ input, output }: FilterRule, flow: Flow, outside: Outside): 'yes' | 'maybe' | 'no' {
  if (flow.input === undefined && flow.output === undefined) return input || output ? 'no' : 'yes';
  const sides = [side(input, flow.input, outside), side(output, flow.output, outside)];
  if (sides.includes('no')) return 'no';
  // One interface on both sides is a bridge's own traffic (Docker's --icc=false), never ours.
  const both = input && output && !input.negated && !output.negated;
  if (both && input.names.some((name) => output.names.includes(name))) return 'no';
  return sides.includes('maybe') ? 'maybe' : 'yes';
}

function side(
  match: InterfaceMatch | undefined,
  name: string | undefined,
  outside: Outside,
): 'yes' | 'maybe' | 'no' {
  if (!match) return 'yes';
  // It is a container's: `-i eth0 -j DROP` keeps the outside from containers, and no container from another.
  if (name === undefined)
    return !match.negated && match.names.every((each) => outside.has(each)) ? 'no' : 'maybe';
  const isNamed = match.names.some((pattern) =>
    /[*+]$/.test(pattern) ? name.startsWith(pattern.slice(0, -1)) : name === pattern,
  );
  return isNamed !== match.negated ? 'yes' : 'no';
}

/** What a declaration of an option says. */
import type { ReadValue } from './values';

/** One option. Its variable is FLANNELD_ and the name in capitals, `-` and `.` as `_`. */
export interface OptionSpec {
  readonly name: string;
  /** What stands for the value in the help. A boolean option has none, and needs no value. */
  readonly placeholder?: string;
  /** The default, as text; absent: the option is not set. */
  readonly fallback?: string;
  /** How one text is read. The value of a repeatable option is the list of what was read. */
  readonly read: ReadValue<unknown>;
  readonly repeatable?: true;
  /** All values there are, where they are few. */
  readonly words?: readonly string[];
  /** What a shell completes its value with, where placeholder and words do not say it. */
  readonly completion?: 'interface';
  /** Never shown. */
  readonly secret?: true;
  /** It cannot stand in vtepd.conf. */
  readonly notInFile?: true;
  /** The name of an option that must be set with it. */
  readonly needs?: string;
  /** The first flannel that has it; absent: it is vtepd's own. */
  readonly since?: string;
  /** Its names in the release before this one. Both work, in each place where an option may stand. */
  readonly formerNames?: readonly string[];
  /** Sentences; what is in `backquotes` is code. */
  readonly help: string;
  /** Without any effect so far: a sentence for a user who sets it. */
  readonly notEffective?: string;
}

/** Options by the keys that their values have. */
export type OptionTable = Readonly<Record<string, OptionSpec>>;

/** What the options of a table say, each checked. */
export type ValuesOf<Table extends OptionTable> = {
  readonly [Key in keyof Table]: Table[Key] extends { readonly repeatable: true }
    ? readonly ReturnType<Table[Key]['read']>[]
    : ReturnType<Table[Key]['read']>;
};

/** The keys of the options that the user set. */
export type ExplicitKeys = ReadonlySet<string>;

/** Options that belong together. */
export interface Topic {
  /** What stands above them in the help. */
  readonly title: string;
  readonly options: OptionTable;
}

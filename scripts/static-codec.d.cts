/** See static-codec.cjs. */
export function staticCodecOf(
  protoFile: string,
  options: object,
  wanted: Readonly<Record<string, readonly string[]>>,
): string;

/** By service: the methods that src/etcd calls. */
export const AGENT_METHODS: Readonly<Record<string, readonly string[]>>;

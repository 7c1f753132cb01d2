/** See static-codec.cjs. */
export function staticCodecOf(protoFile: string, options: object): string;

/** See reachable.cjs. */
export function reachable(source: string, wanted: readonly string[]): string;

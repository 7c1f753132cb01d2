/** Names in `vtepd status --json` that were changed in this release. For one release its readers find both. */

export interface FormerNames {
  /** Former field → present one, of the same object: `lease.cidr` → `subnet`. Of the items of a list: `peers.list.mac`. */
  readonly fields: Readonly<Record<string, string>>;
  /** Former name of a check → present one. */
  readonly checks: Readonly<Record<string, string>>;
}

/** A release forgets what the one before it had here. */
export const FORMER_NAMES: FormerNames = { fields: {}, checks: {} };

/** The status with every former name beside the present one. */
export function withFormerNames<Status extends { readonly checks: readonly { readonly name: string }[] }>(
  status: Status,
  { fields, checks }: FormerNames = FORMER_NAMES,
): Status {
  const twins = Object.entries(checks).flatMap(([former, present]) =>
    status.checks.filter(({ name }) => name === present).map((check) => ({ ...check, name: former })),
  );
  return withFormerFields(
    { ...status, checks: [...status.checks, ...twins] },
    '',
    Object.entries(fields),
  ) as Status;
}

/** Of a status with both, the checks by their present names: what a person is shown. */
export function presentChecks<Check extends { readonly name: string }>(
  checks: readonly Check[],
  former: FormerNames = FORMER_NAMES,
): readonly Check[] {
  return checks.filter(({ name }) => !Object.hasOwn(former.checks, name));
}

function withFormerFields(value: unknown, path: string, fields: readonly [string, string][]): unknown {
  if (Array.isArray(value)) return value.map((item) => withFormerFields(item, path, fields));
  if (typeof value !== 'object' || value === null) return value;
  const prefix = path === '' ? '' : `${path}.`;
  const members = Object.entries(value).map(([name, member]) => [
    name,
    withFormerFields(member, `${prefix}${name}`, fields),
  ]);
  const result = Object.fromEntries(members) as Record<string, unknown>;
  for (const [former, present] of fields) {
    const name = former.slice(prefix.length);
    if (former.startsWith(prefix) && !name.includes('.') && present in result) result[name] = result[present];
  }
  return result;
}

/** Where etcd listens, as a person writes it. */
import { UsageError } from '../model/errors';

/** One etcd server's client address. */
export interface Endpoint {
  /** For people: `https://10.0.0.1:2379`. */
  readonly url: string;
  readonly tls: boolean;
}

const SHAPE = /^(https?):\/\/(\[[0-9a-f:.]+\]|[^/:?#@[\]\s]+):(\d{1,5})\/*$/i;

/** Reads endpoint URLs; throws a {@link UsageError} that says what is wrong with the first bad one, and what would be right. */
export function parseEndpoints(texts: readonly string[]): readonly Endpoint[] {
  if (texts.length === 0)
    throw new UsageError('no etcd endpoint is given; one looks like http://10.0.0.1:2379');
  return texts.map((text) => parseEndpoint(text.trim()));
}

function parseEndpoint(text: string): Endpoint {
  const match = SHAPE.exec(text);
  const port = Number(match?.[3]);
  if (!match || port < 1 || port > 65_535) throw new UsageError(complaintOf(text));
  const scheme = match[1]!.toLowerCase();
  return { url: `${scheme}://${match[2]!.toLowerCase()}:${port}`, tls: scheme === 'https' };
}

function complaintOf(text: string): string {
  // A password in the URL must not reach the terminal or the journal.
  if (text.includes('@')) {
    return 'an etcd endpoint must not hold a user or password; use --etcd-username and --etcd-password';
  }
  if (text === '') return 'an etcd endpoint is empty; one looks like http://10.0.0.1:2379';
  const bad = `bad etcd endpoint '${text}'`;
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text)?.[1];
  if (scheme === undefined)
    return `${bad}: it must begin with http:// or https://, as in http://10.0.0.1:2379`;
  if (!/^https?$/i.test(scheme)) return `${bad}: the scheme must be http or https, not ${scheme}`;
  const [authority = '', ...path] = text.slice(scheme.length + 3).split('/');
  if (path.some((part) => part !== '') || /[?#]/.test(text)) return `${bad}: nothing may follow the port`;
  if (authority === '' || authority.startsWith(':')) return `${bad}: it names no host`;
  if (/^[^:[\]]+$|^\[[^\]]*\]$/.test(authority)) return `${bad}: it names no port; etcd's is usually 2379`;
  if (/^[0-9a-f:.]+$/i.test(authority) && authority.split(':').length > 2) {
    return `${bad}: an IPv6 address stands in brackets, as in http://[fd00::1]:2379`;
  }
  return `${bad}: the port must be a number from 1 to 65535`;
}

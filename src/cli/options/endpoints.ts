/** URLs of etcd. */
import { BadValue, SecretBadValue } from './values';

/** `http://10.0.0.1:2379,https://[fd00::1]:2379`; blanks around the commas do not count. */
export function readEndpoints(text: string): readonly string[] {
  const urls = text
    .split(',')
    .map((url) => url.trim())
    .filter((url) => url !== '');
  if (urls.length === 0) throw new BadValue('must name at least one URL like http://10.0.0.1:2379');
  return urls.map(readEndpoint);
}

function readEndpoint(url: string): string {
  // The value is not repeated: it may hold a password.
  if (url.includes('@'))
    throw new SecretBadValue(
      'must not hold a user or password; that is what --etcd-username and --etcd-password are for',
    );
  const match = /^https?:\/\/(?:\[[\da-f:.]+\]|[^/:?#[\]\s]+):(\d{1,5})\/*$/i.exec(url);
  if (match && +match[1]! >= 1 && +match[1]! <= 65_535) return url.replace(/\/+$/, '');
  // As flannel's etcd client takes it; whether TLS is used then follows from the other options.
  if (/^(?:\[[\da-f:.]+\]|[^/:?#[\]\s]+):\d{1,5}$/i.test(url))
    return readEndpoint(`http://${url}`).slice('http:'.length);
  throw new BadValue(
    'must be a list of URLs like http://10.0.0.1:2379 or https://[fd00::1]:2379, port included',
  );
}

/** Gives each endpoint without a scheme one: with files for TLS it is https. */
export function withSchemes(urls: readonly string[], usesTls: boolean): readonly string[] {
  return urls.map((url) => (url.startsWith('//') ? `${usesTls ? 'https' : 'http'}:${url}` : url));
}

/** What our own member of an etcd cluster says about itself, by etcd's JSON gateway. */
import { request } from 'node:http';

interface Members {
  readonly header: { readonly member_id: string };
  readonly members: readonly { readonly ID: string; readonly peerURLs?: readonly string[] }[];
}

const DEADLINE_MILLISECONDS = 5_000;

/**
 * Tells the cluster where the member behind this port of the loopback is reached by the others. Its store keeps the address it
 * began with, which a member that is added later would try (etcd 3.4 does not look at `--initial-advertise-peer-urls` again).
 */
export async function correctPeerUrl(clientPort: number, url: string, signal: AbortSignal): Promise<void> {
  const { header, members } = await call<Members>(clientPort, 'member/list', {}, signal);
  const own = members.find(({ ID }) => ID === header.member_id);
  if (!own || (own.peerURLs?.length === 1 && own.peerURLs[0] === url)) return;
  await call(clientPort, 'member/update', { ID: own.ID, peerURLs: [url] }, signal);
}

/** Whether the member behind this port of the loopback answers by now. */
export async function isServing(clientPort: number, signal: AbortSignal): Promise<boolean> {
  try {
    await ask(clientPort, 'GET', '/version', undefined, limited(signal));
    return true;
  } catch {
    signal.throwIfAborted();
    return false;
  }
}

async function call<Response>(
  port: number,
  path: string,
  body: object,
  signal: AbortSignal,
): Promise<Response> {
  const text = await ask(port, 'POST', `/v3/cluster/${path}`, JSON.stringify(body), limited(signal));
  return JSON.parse(text) as Response;
}

function limited(signal: AbortSignal): AbortSignal {
  return AbortSignal.any([signal, AbortSignal.timeout(DEADLINE_MILLISECONDS)]);
}

function ask(
  port: number,
  method: string,
  path: string,
  body: string | undefined,
  signal: AbortSignal,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const asked = request({ host: '127.0.0.1', port, path, method, signal }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (text += chunk));
      response.on('error', reject);
      response.on('end', () => {
        if (response.statusCode === 200) resolve(text);
        else reject(new Error(`${path} is refused: ${text.trim()}`));
      });
    });
    asked.on('error', reject);
    asked.end(body);
  });
}

/** What grpc-js has to say beside the errors of its calls. It would print it to the terminal by itself, also amid JSON. */
import { setLogger } from '@grpc/grpc-js';

/** grpc-js tells only here that a server wants fewer pings (GOAWAY, "too_many_pings"). */
const EXCESS_PINGS = /^Connection to .* at (\S+) rejected by server because of excess pings/;

export interface GrpcNews {
  /** Anything else that grpc-js prints. */
  said(text: string): void;
  /** A server refused our pings. `address`: as grpc-js names it, `10.0.0.1:2379`. */
  refusedPings(address: string): void;
}

const listeners = new Set<GrpcNews>();

/** Tells of what grpc-js says from now on, until the returned function is called. */
export function hearGrpc(news: GrpcNews): () => void {
  listeners.add(news);
  const tell = (...parts: unknown[]) => {
    const text = parts.map(String).join(' ');
    const address = EXCESS_PINGS.exec(text)?.[1];
    for (const listener of listeners) {
      if (address === undefined) listener.said(text);
      else listener.refusedPings(address);
    }
  };
  setLogger({ error: tell, info: tell, debug: tell });
  return () => listeners.delete(news);
}

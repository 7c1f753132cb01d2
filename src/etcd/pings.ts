/** How often a server is pinged. */

/** A server that hangs is noticed within 15 s, by a watch, too. etcd allows a ping each 5 s. */
const USUAL_MILLISECONDS = 10_000;
/** What servers allow that know nothing of etcd's clients, such as `etcd grpc-proxy`: gRPC's own default is one in 5 minutes. */
const RARE_MILLISECONDS = 310_000;

/** The one of an endpoint: once it has refused our pings, also its later connections ping rarely. */
export class Pings {
  #isRare = false;

  get milliseconds(): number {
    return this.#isRare ? RARE_MILLISECONDS : USUAL_MILLISECONDS;
  }

  beRare(): void {
    this.#isRare = true;
  }
}

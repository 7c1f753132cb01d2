/** Options of some flannel that vtepd does not have: what to do instead of those that ask for something. */

export interface RefusedOption {
  /** A boolean that is false asks for nothing, and is let pass. */
  readonly boolean: boolean;
  /** A sentence that goes on from the option's name. */
  readonly advice: string;
}

const NO_KUBERNETES =
  'is for flannel on Kubernetes; vtepd keeps its leases in etcd: leave it out, and say where etcd is with --etcd-endpoints';
const NO_SERVER =
  'belonged to the client/server mode of flannel 0.5 to 0.7; every vtepd talks to etcd itself: use --etcd-endpoints';
const ONE_NETWORK =
  'belonged to the multi-network mode of flannel 0.5 to 0.7; run one vtepd for each network, with its own --etcd-prefix, ' +
  '--subnet-file and Backend.VNI';

const kubernetes = (boolean: boolean): RefusedOption => ({ boolean, advice: NO_KUBERNETES });

export const REFUSED: Readonly<Record<string, RefusedOption>> = {
  'kube-subnet-mgr': kubernetes(true),
  'kube-api-url': kubernetes(false),
  'kubeconfig-file': kubernetes(false),
  'kube-annotation-prefix': kubernetes(false),
  'set-node-network-unavailable': kubernetes(true),
  'net-config-path': {
    boolean: false,
    advice:
      "is for flannel on Kubernetes; vtepd reads its configuration from etcd: store that file with 'vtepd config set FILE'",
  },
  'use-multi-cluster-cidr': kubernetes(true),
  'etcd-endpoint': { boolean: false, advice: 'was renamed by flannel 0.2: use --etcd-endpoints' },
  listen: { boolean: false, advice: NO_SERVER },
  remote: { boolean: false, advice: NO_SERVER },
  'remote-keyfile': { boolean: false, advice: NO_SERVER },
  'remote-certfile': { boolean: false, advice: NO_SERVER },
  'remote-cafile': { boolean: false, advice: NO_SERVER },
  networks: { boolean: false, advice: ONE_NETWORK },
  'watch-networks': { boolean: true, advice: ONE_NETWORK },
  'subnet-dir': { boolean: false, advice: ONE_NETWORK },
};

/**
 * Options of the log library of flannel up to 0.7, true if they are boolean: where a log goes is asked by them, and ours goes
 * to standard error anyway. They are let pass.
 */
export const IGNORED: Readonly<Record<string, boolean>> = {
  logtostderr: true,
  alsologtostderr: true,
  stderrthreshold: false,
  log_dir: false,
};

/** The configuration of the plugin that does the work: ours, the user's, and what subnet.env says. */
import { CNI_CODES, CniError } from './cni-error';
import { isPluginName, type JsonObject, type NetworkConf } from './network-conf';
import type { HostSubnets } from './subnet-file';

/**
 * What the delegate gets on its standard input. What the user wrote in `delegate` and `ipam` wins, but for name, ranges and
 * routes: addresses come from this host's subnets, and a route leads to each network. Throws code 7.
 */
export function delegateConfig(conf: NetworkConf, host: HostSubnets): JsonObject {
  const { delegate, name, runtimeConfig, statedVersion } = conf;
  const type = delegateTypeOf(delegate);
  return {
    // One of the two masquerades, never both.
    ipMasq: !host.ipMasq,
    mtu: host.mtu,
    ...(type === 'bridge' && { isGateway: true }),
    ...delegate,
    ...(runtimeConfig && { runtimeConfig }),
    ...(statedVersion && { cniVersion: statedVersion }),
    name,
    type,
    ipam: ipamConfig(conf.ipam, host),
  };
}

function delegateTypeOf(delegate: JsonObject): string {
  for (const key of ['name', 'ipam']) {
    if (key in delegate)
      throw invalid(`'delegate' dictionary must not have '${key}' field, it'll be set by flannel`);
  }
  const type = 'type' in delegate ? delegate['type'] : 'bridge';
  if (typeof type !== 'string')
    throw invalid("'delegate' dictionary, if present, must have (string) 'type' field");
  if (!isPluginName(type)) throw invalid(`invalid delegate type: ${JSON.stringify(type)}`);
  return type;
}

function ipamConfig(ipam: JsonObject, host: HostSubnets): JsonObject {
  const routes = ipam['routes'] ?? [];
  if (!Array.isArray(routes)) throw invalid('ipam.routes must be a list');
  return {
    type: 'host-local',
    ...ipam,
    // A list of one range per family: an address of each is given out.
    ranges: host.subnets.map((subnet) => [{ subnet }]),
    routes: [...(routes as unknown[]), ...host.networks.map((dst) => ({ dst }))],
  };
}

/** The subnets from which a delegate with this configuration gives out addresses. */
export function subnetsOf(config: JsonObject): readonly string[] {
  const { ranges } = (config['ipam'] ?? {}) as { ranges?: readonly (readonly { subnet?: string }[])[] };
  return (ranges ?? []).flatMap((range) => range.map(({ subnet }) => subnet ?? ''));
}

function invalid(message: string): CniError {
  return new CniError(CNI_CODES.invalidConfig, message);
}

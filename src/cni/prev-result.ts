/** The result of ADD, as delegates can check it. */
import { isObject, type JsonObject } from './network-conf';

/**
 * The result with a gateway in every route that has none: that of the first address of the same family, by which the delegate
 * made the route (containernetworking's ipam.ConfigureIface). Without it, bridge's own CHECK looks for a route without gateway
 * and does not find what its ADD made (seen with 1.1.1).
 */
export function withGateways(result: JsonObject): JsonObject {
  const ips = objectsIn(result['ips']);
  const gatewayOf = (dst: unknown): unknown =>
    ips.find(({ address, gateway }) => gateway && isIpv6(address) === isIpv6(dst))?.['gateway'];
  const routes = objectsIn(result['routes']).map((route) => {
    const gw = route['gw'] || gatewayOf(route['dst']);
    return gw ? { ...route, gw } : route;
  });
  return routes.length > 0 ? { ...result, routes } : result;
}

function objectsIn(list: unknown): readonly JsonObject[] {
  return Array.isArray(list) ? list.filter(isObject) : [];
}

function isIpv6(address: unknown): boolean {
  return typeof address === 'string' && address.includes(':');
}

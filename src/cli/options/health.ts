/** Options about health checks. */
import type { IpAddress } from '../../model/address';
import type { Topic, ValuesOf } from './option';
import { readAddress, readInteger } from './values';

export const health = {
  title: 'Health checks',
  options: {
    healthzIp: {
      name: 'healthz-ip',
      placeholder: 'IP',
      fallback: '0.0.0.0',
      read: readListenAddress,
      since: '0.8.0',
      help: 'Where the health server listens.',
    },
    /** 0: no health server. */
    healthzPort: {
      name: 'healthz-port',
      placeholder: 'PORT',
      fallback: '0',
      read: readInteger(0, 65_535),
      since: '0.8.0',
      help: 'Its TCP port, with `/healthz` and `/readyz` (and `?verbose`). 0: there is none.',
    },
  },
} satisfies Topic;

/** Where the health server listens; undefined: there is none. */
export function healthSettings({ healthzIp, healthzPort }: ValuesOf<typeof health.options>) {
  return healthzPort === 0 ? undefined : { address: healthzIp, port: healthzPort };
}

function readListenAddress(text: string): IpAddress {
  return readAddress('any', 'listen')(text) ?? ('0.0.0.0' as IpAddress);
}

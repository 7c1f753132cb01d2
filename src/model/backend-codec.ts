/** The `Backend` object of the network configuration as the vxlan backend reads it. */
import { ConfigError } from './errors';
import { JsonFields, isJsonObject, printBriefly } from './json-fields';
import type { Backend, VxlanBackend } from './network-config';

/** The kernel's UDP port for VXLAN when a device is made without one. Source: Linux, `vxlan_core.c`. */
const KERNEL_PORT = 8472;

/** Flannel calls the device flannel.<VNI>, and Linux allows 15 characters. A VNI of its own could be 16 777 215. */
const LARGEST_VNI = 9_999_999;

/** With less, no IPv4 packet of the smallest legal size fits behind the 50 bytes of the outer headers. */
const SMALLEST_MTU = 68 + 50;
const LARGEST_MTU = 65_535;

/** What `Backend` means; undefined: there is none, which is flannel's udp backend. Throws a {@link ConfigError}. */
export function parseBackend(value: unknown): Backend {
  if (value === undefined) return { type: 'other', name: 'udp' };
  if (value === null) return { type: 'other', name: '' };
  const context = 'error decoding Backend property of config: ';
  if (!isJsonObject(value)) {
    throw new ConfigError(
      `${context}it must be an object like {"Type": "vxlan"}, not ${printBriefly(value)}`,
    );
  }
  const name = new JsonFields(value, context).string('Type', '').toLowerCase();
  return name === 'vxlan' ? parseVxlanBackend(value) : { type: 'other', name };
}

function parseVxlanBackend(value: object): VxlanBackend {
  const fields = new JsonFields(value, 'error decoding VXLAN backend config: ');
  const mtu = fields.integer('MTU', 0, 0, LARGEST_MTU);
  if (mtu !== 0 && mtu < SMALLEST_MTU) {
    throw new ConfigError(
      `error decoding VXLAN backend config: MTU is that of the outgoing packets and must be from ${SMALLEST_MTU} to ` +
        `${LARGEST_MTU}, or 0 for the interface's own, not ${mtu}`,
    );
  }
  return {
    type: 'vxlan',
    vni: fields.integer('VNI', 1, 0, LARGEST_VNI),
    port: fields.integer('Port', 0, 0, 65_535) || KERNEL_PORT,
    mtu: mtu || undefined,
    gbp: fields.boolean('GBP', false),
    learning: fields.boolean('Learning', false),
    directRouting: fields.boolean('DirectRouting', false),
  };
}

/** The JSON object that {@link parseBackend} reads as this backend, defaults included. */
export function printableBackend(backend: Backend): object {
  if (backend.type === 'other') return { Type: backend.name };
  return {
    Type: 'vxlan',
    VNI: backend.vni,
    Port: backend.port,
    // Left out where the interface decides: flannel would take a 0 literally.
    MTU: backend.mtu,
    GBP: backend.gbp,
    Learning: backend.learning,
    DirectRouting: backend.directRouting,
  };
}

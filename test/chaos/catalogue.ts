/** Every fault there is, in the order they are provoked. */
import type { Fault } from './fault';
import { AGENT_FAULTS } from './faults/agent';
import { CLIENT_FAULTS } from './faults/clients';
import { CONFIGURATION_FAULTS } from './faults/configuration';
import { DEVICE_FAULTS } from './faults/device';
import { ENTRY_FAULTS } from './faults/entries';
import { ETCD_FAULTS } from './faults/etcd';
import { GUARD_FAULTS } from './faults/guard';
import { HOSTILE_FAULTS } from './faults/hostile';
import { IDENTITY_FAULTS } from './faults/identity';
import { LEASE_FAULTS } from './faults/leases';
import { MACHINE_FAULTS } from './faults/machine';
import { FAULTS_BY_OTHERS } from './faults/others';
import { OVERLAY_FAULTS } from './faults/overlays';
import { QUIET } from './faults/quiet';
import { SECURED_ETCD_FAULTS } from './faults/secured-etcd';
import { UNDERLAY_FAULTS } from './faults/underlay';

export const FAULTS: readonly Fault[] = [
  ...ENTRY_FAULTS,
  ...GUARD_FAULTS,
  ...DEVICE_FAULTS,
  ...UNDERLAY_FAULTS,
  ...IDENTITY_FAULTS,
  ...FAULTS_BY_OTHERS,
  ...OVERLAY_FAULTS,
  ...AGENT_FAULTS,
  ...CLIENT_FAULTS,
  ...CONFIGURATION_FAULTS,
  ...LEASE_FAULTS,
  ...HOSTILE_FAULTS,
  ...ETCD_FAULTS,
  ...SECURED_ETCD_FAULTS,
  ...MACHINE_FAULTS,
  QUIET,
];

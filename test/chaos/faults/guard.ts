/** Somebody takes the guard of the VXLAN port away while a stranger tries to get in. */
import { Listener, sendDatagrams } from '../../support/lab/listener';
import { until } from '../../support/lab/until';
import { vxlanPacket } from '../../support/vxlan-packet';
import type { Fault } from '../fault';
import type { Scene } from '../scene';

const PORT = 7000;
const VXLAN_PORT = 8472;
const STRANGER = '172.30.200.1';
const FORGED_SOURCE = '10.5.255.7';
const FORGED_AT_ONCE = 200;

/** What a stranger on the underlay sends to the container of host 1, all at once; returns how much of it arrived. */
async function inject({ lab, victim, peer }: Scene, listener: Listener): Promise<number> {
  const [mac, destination] = [(await victim.vtepMac())!, victim.containerAddress];
  const hex = (source: string) => vxlanPacket({ vni: 1, mac, source, destination }).toString('hex');
  const count = (source: string) => listener.heard.filter((each) => each === source).length;
  const [forged, genuine] = [count(FORGED_SOURCE), count(peer.vtepAddress)];
  const to = { address: victim.publicIp, port: VXLAN_PORT };
  const packet = { from: STRANGER, hex: hex(FORGED_SOURCE) };
  await sendDatagrams(lab.hub, to, new Array<typeof packet>(FORGED_AT_ONCE).fill(packet));
  await sendDatagrams(peer.namespace, to, [{ from: peer.publicIp, hex: hex(peer.vtepAddress) }]);
  await until('the peer is heard', () => count(peer.vtepAddress) > genuine);
  return count(FORGED_SOURCE) - forged;
}

export const GUARD_FAULTS: readonly Fault[] = [
  {
    name: 'guard-flushed',
    group: 'entries',
    what: 'flushes all nftables rules while a stranger sends to the VXLAN port',
    plan: { agentOptions: ['--vxlan-admission=on'] },
    throughLoss: 'none',
    withinMilliseconds: 1_000,
    provoke: async (scene) => {
      const { namespace, container } = scene.victim;
      const hasGuard = async () =>
        (await namespace.run('nft', ['list', 'tables'])).includes('vtepd-admission-flannel.1');

      await until('there is a guard', hasGuard);
      await scene.lab.hub.ip('address', 'add', `${STRANGER}/16`, 'dev', 'br0');
      const listener = await Listener.start(container, PORT);
      scene.atEnd(() => listener.end());
      if ((await inject(scene, listener)) > 0) throw new Error('a stranger got in before the fault');
      const repaired = scene.took('the guard is there again', hasGuard);
      await namespace.run('nft', ['flush', 'ruleset']);
      const milliseconds = await repaired;
      if ((await inject(scene, listener)) > 0) throw new Error('a stranger got in after the repair');
      return milliseconds;
    },
  },
];

/** The rules that flannel leaves in the packet filter. */
import type { Namespace } from '../lab/namespace';

/** With `--ip-masq` and the forward rules, as flannel 0.20 to 0.28 writes them; or as 0.5.5 does, which has none of the latter. */
export async function installFlannelRules(
  namespace: Namespace,
  tool: 'iptables 0.5.5' | 'iptables' | 'nftables',
  network: string,
  subnet: string,
): Promise<void> {
  if (tool === 'nftables') await namespace.run('nft', ['-f', '-'], { input: nftables(network, subnet) });
  else {
    const rules = tool === 'iptables' ? iptables(network, subnet) : oldIptables(network);
    await namespace.run('iptables-restore', ['--noflush'], { input: rules });
  }
}

function oldIptables(network: string): string {
  return `*nat
:FLANNEL - [0:0]
-A FLANNEL -d ${network} -j ACCEPT
-A FLANNEL ! -d 224.0.0.0/4 -j MASQUERADE
-A POSTROUTING -s ${network} -j FLANNEL
-A POSTROUTING ! -s ${network} -d ${network} -j MASQUERADE
COMMIT
`;
}

function iptables(network: string, subnet: string): string {
  const masquerade = '-m comment --comment "flanneld masq"';
  const forward = '-m comment --comment "flanneld forward"';
  return `*nat
:FLANNEL-POSTRTG - [0:0]
-A POSTROUTING ${masquerade} -j FLANNEL-POSTRTG
-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 ${masquerade} -j RETURN
-A FLANNEL-POSTRTG -s ${subnet} -d ${network} ${masquerade} -j RETURN
-A FLANNEL-POSTRTG -s ${network} -d ${subnet} ${masquerade} -j RETURN
-A FLANNEL-POSTRTG ! -s ${network} -d ${subnet} ${masquerade} -j RETURN
-A FLANNEL-POSTRTG -s ${network} ! -d 224.0.0.0/4 ${masquerade} -j MASQUERADE --random-fully
-A FLANNEL-POSTRTG ! -s ${network} -d ${network} ${masquerade} -j MASQUERADE --random-fully
COMMIT
*filter
:FLANNEL-FWD - [0:0]
-A FORWARD ${forward} -j FLANNEL-FWD
-A FLANNEL-FWD -s ${network} ${forward} -j ACCEPT
-A FLANNEL-FWD -d ${network} ${forward} -j ACCEPT
COMMIT
`;
}

function nftables(network: string, subnet: string): string {
  return `table ip flannel-ipv4 {
  comment "rules for flannel-ipv4"
  chain forward {
    type filter hook forward priority filter; policy accept;
    ip saddr ${network} accept
    ip daddr ${network} accept
  }
  chain postrtg {
    type nat hook postrouting priority srcnat; policy accept;
    meta mark 0x4000 return
    ip saddr ${subnet} ip daddr ${network} return
    ip saddr ${network} ip daddr ${subnet} return
    ip saddr != ${subnet} ip daddr ${network} return
    ip saddr ${network} ip daddr != 224.0.0.0/4 masquerade fully-random
    ip saddr != ${network} ip daddr ${network} masquerade fully-random
  }
}
table ip6 flannel-ipv6 {
  comment "rules for flannel-ipv6"
}
`;
}

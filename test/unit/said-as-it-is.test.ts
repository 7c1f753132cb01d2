/** Lines of the log that name what is so, and not what it looks like. */
import { decideAcquisition } from '../../src/core/acquisition';
import { mtuRemark } from '../../src/core/vxlan';
import { describeExhaustion } from '../../src/engine/claims';
import { subnet } from '../../src/model/address';
import { printLeaseAttributes, vtepMacOf } from '../../src/model/lease-codec';
import { AgentOnFakes } from '../support/agent-on-fakes';
import { exampleClaim, exampleLease, exampleOverlay } from '../support/examples';

describe('a network without a free subnet', () => {
  const network = subnet('10.5.0.0/16');
  const claim = exampleClaim();
  const whole = exampleLease(9, { name: '10.5.0.0-16', subnet: network });

  it('names the key that covers it, and does not want it enlarged', () => {
    const decision = decideAcquisition(claim, [whole]);
    expect(decision).toEqual({ kind: 'exhausted', oversized: [whole] });
    const text = describeExhaustion(network, { kind: 'exhausted', oversized: [whole] });
    expect(text).toMatch(
      /10\.5\.0\.0-16 \(PublicIP 192\.168\.0\.9\).*delete such a key in etcd if no host uses it/,
    );
    expect(text).not.toContain('enlarge');
  });

  it('names keys that cannot be read', () => {
    expect(describeExhaustion(network, { kind: 'exhausted' }, ['10.5.1.0-24'])).toMatch(
      /cannot be read \(10\.5\.1\.0-24\); delete such keys in etcd/,
    );
    expect(describeExhaustion(network, { kind: 'exhausted' })).toBe(
      'every subnet of 10.5.0.0/16 is leased; free one, or enlarge the network',
    );
  });

  it('says so in the log of an agent that waits for one, and in its status', async () => {
    const host = new AgentOnFakes();
    host.store.put(
      'subnets/10.5.0.0-16',
      printLeaseAttributes(whole.attributes),
      host.store.grant(86_400, 'x'),
    );
    await host.start();
    expect(host.check('lease')).toMatchObject({
      state: 'failing',
      reason: expect.stringMatching(/^no free subnet left: .*10\.5\.0\.0-16/) as string,
    });
    expect(host.host.serviceState.status).toMatch(/^starting: lease: no free subnet left: .*10\.5\.0\.0-16/);
    await host.stop();
  });
});

describe("a lease that hangs on another's etcd lease", () => {
  const { attributes } = exampleLease(1);

  async function started(hasDevice: boolean) {
    const host = new AgentOnFakes();
    host.store.put(
      'subnets/10.5.1.0-24',
      printLeaseAttributes(attributes),
      host.store.grant(86_400, 'flannel'),
    );
    if (hasDevice) {
      const { backend, underlay } = exampleOverlay();
      host.kernel.tamper({
        verb: 'put',
        object: {
          kind: 'link',
          name: 'flannel.1',
          mac: vtepMacOf(exampleLease(1))!,
          mtu: 1450,
          up: true,
          vxlan: {
            vni: backend.vni,
            local: underlay.address,
            underlayIndex: underlay.index,
            port: backend.port,
            learning: false,
            gbp: false,
            l2miss: false,
          },
        },
      });
    }
    await host.start();
    await host.clock.advance(3_000);
    const lines = host.log.messages('info', 'warn', 'error');
    await host.stop();
    return lines;
  }

  it('and leads to the device that is here was made by flannel on this host, and that is said', async () => {
    const lines = await started(true);
    expect(lines).toContain(
      'lease of this host taken over from the program that made our device: flannel, or an earlier version of vtepd',
    );
    expect(lines.join()).not.toContain('another host');
  });

  it("and leads nowhere here may be another host's, and that is said", async () => {
    expect((await started(false)).join()).toContain(
      'lease claimed: its key hung on an etcd lease of another host, or of an earlier boot',
    );
  });
});

describe('Backend.MTU', () => {
  const { backend, underlay } = exampleOverlay();

  it.each([
    [undefined, undefined],
    [1_400, undefined],
    [1_500, undefined],
    [
      1_501,
      /^Backend\.MTU 1501 is above the MTU 1500 of eth0: the overlay has 1450, by eth0; lower Backend\.MTU/,
    ],
  ])('of %p is spoken of, or not', (mtu, remark) => {
    const found = mtuRemark({ ...backend, mtu }, underlay);
    if (remark === undefined) expect(found).toBeUndefined();
    else expect(found).toMatch(remark);
  });

  it('above that of the interface is said in the log once, and in the status', async () => {
    const host = new AgentOnFakes();
    host.store.put('config', '{"Network": "10.5.0.0/16", "Backend": {"Type": "vxlan", "MTU": 9000}}');
    await host.start();
    await host.clock.advance(120_000);
    expect(host.log.messages('warn')).toEqual(['the configured MTU is not that of the overlay']);
    expect(host.check('mtu')).toMatchObject({ state: 'failing', advisory: true });
    expect(host.agent.status(false).isReady).toBe(true);
    await host.stop();
  });
});

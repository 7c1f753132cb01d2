import { EtcdRegistry, type EtcdRegistryOptions } from '../../src/etcd/registry';
import { parseEndpoints } from '../../src/etcd/endpoints';
import { Keys } from '../../src/etcd/keys';
import { UsageError, describeError } from '../../src/model/errors';

describe('an etcd endpoint', () => {
  test.each([
    ['http://10.0.0.1:2379', 'http://10.0.0.1:2379', false],
    [' https://etcd.example:2379/ ', 'https://etcd.example:2379', true],
    ['HTTPS://Etcd.Example:4001//', 'https://etcd.example:4001', true],
    ['http://[fd00::1]:2379', 'http://[fd00::1]:2379', false],
    ['http://localhost:80', 'http://localhost:80', false],
  ])('%j is %s', (text, url, tls) => {
    expect(parseEndpoints([text])).toEqual([{ url, tls }]);
  });

  test.each([
    ['10.0.0.1:2379', 'it must begin with http:// or https://, as in http://10.0.0.1:2379'],
    ['etcd', 'it must begin with http:// or https://, as in http://10.0.0.1:2379'],
    ['unix:///run/etcd.sock', 'the scheme must be http or https, not unix'],
    ['http://10.0.0.1', "it names no port; etcd's is usually 2379"],
    ['https://[fd00::1]/', "it names no port; etcd's is usually 2379"],
    ['http://:2379', 'it names no host'],
    ['http://', 'it names no host'],
    ['http://fd00::1:2379', 'an IPv6 address stands in brackets, as in http://[fd00::1]:2379'],
    ['http://10.0.0.1:2379/v3', 'nothing may follow the port'],
    ['http://10.0.0.1:2379?x', 'nothing may follow the port'],
    ['http://10.0.0.1:0', 'the port must be a number from 1 to 65535'],
    ['http://10.0.0.1:65536', 'the port must be a number from 1 to 65535'],
    ['http://10.0.0.1:etcd', 'the port must be a number from 1 to 65535'],
  ])('%j is refused: %s', (text, why) => {
    expect(() => parseEndpoints(['http://10.0.0.1:2379', text])).toThrow(
      new UsageError(`bad etcd endpoint '${text}': ${why}`),
    );
  });

  test('is needed, and an empty one (a stray comma) is refused', () => {
    expect(() => parseEndpoints([])).toThrow(
      'no etcd endpoint is given; one looks like http://10.0.0.1:2379',
    );
    expect(() => parseEndpoints([''])).toThrow('an etcd endpoint is empty');
  });

  test('with a password in it is refused without repeating the password', () => {
    expect(() => parseEndpoints(['http://root:hunter2@10.0.0.1:2379'])).toThrow(
      new UsageError(
        'an etcd endpoint must not hold a user or password; use --etcd-username and --etcd-password',
      ),
    );
  });
});

describe('the options of etcd', () => {
  const options: EtcdRegistryOptions = { endpoints: ['https://10.0.0.1:2379'], prefix: '/x' };

  test.each([
    ['no file', {}, 'connection refused'],
    ['a CA only', { caFile: 'ca' }, "the CA file '/nowhere/ca' cannot be read: it does not exist"],
    [
      'a certificate and its key',
      { certFile: 'cert', keyFile: 'key' },
      "the certificate file '/nowhere/cert' cannot be read: it does not exist",
    ],
    [
      'all three',
      { caFile: 'ca', certFile: 'cert', keyFile: 'key' },
      "the CA file '/nowhere/ca' cannot be read: it does not exist",
    ],
  ])('may name %s; whether that leads to etcd shows with the first call', async (_, files, why) => {
    const paths = Object.fromEntries(Object.entries(files).map(([file, name]) => [file, `/nowhere/${name}`]));
    const registry = new EtcdRegistry({ ...options, endpoints: ['https://127.0.0.1:1'], ...paths });
    const failure = await registry.list(new AbortController().signal).catch(describeError);
    registry.close();
    expect(failure).toContain(why);
  });

  test('that contradict each other are refused', () => {
    const both = new UsageError('--etcd-certfile and --etcd-keyfile are needed both, or neither');
    expect(() => new EtcdRegistry({ ...options, certFile: 'cert' })).toThrow(both);
    expect(() => new EtcdRegistry({ ...options, keyFile: 'key', certFile: '' })).toThrow(both);
    expect(() => new EtcdRegistry({ ...options, password: 'x' })).toThrow(
      new UsageError('--etcd-password is given without --etcd-username'),
    );
  });
});

describe('keys', () => {
  test.each([
    ['/coreos.com/network', '/coreos.com/network/config', '/coreos.com/network/subnets/'],
    ['/coreos.com/network/', '/coreos.com/network/config', '/coreos.com/network/subnets/'],
    ['//coreos.com///network//', '/coreos.com/network/config', '/coreos.com/network/subnets/'],
    ['coreos.com/network', 'coreos.com/network/config', 'coreos.com/network/subnets/'],
    ['/a/../b/./c', '/b/c/config', '/b/c/subnets/'],
    ['/', '/config', '/subnets/'],
    ['', 'config', 'subnets/'],
  ])('below the prefix %j are joined as Go joins paths', (prefix, config, subnets) => {
    const keys = new Keys(prefix);
    expect(keys.config.toString()).toBe(config);
    expect(keys.leases.key.toString()).toBe(subnets);
    expect(keys.leases.range_end.toString()).toBe(subnets.replace(/\/$/, '0'));
  });

  test('of leases hold their names', () => {
    const keys = new Keys('/prefix/ü');
    for (const name of ['10.5.1.0-24', '10.5.1.0-24&fd00::-64', 'a/b', '']) {
      expect(keys.nameOf(keys.lease(name))).toEqual({ name });
    }
  });

  describe('that can be no lease have a name to show, and a reason', () => {
    const keys = new Keys('/prefix');
    const keyOf = (name: Buffer) => Buffer.concat([keys.lease(''), name]);

    test.each([
      [
        '1.5 MB of digits',
        Buffer.alloc(1_500_000, '1'),
        /^its key has 1500000 bytes, and no lease more than 255$/,
      ],
      ['256 bytes', Buffer.alloc(256, 'x'), /^its key has 256 bytes/],
      [
        'letters of other alphabets',
        Buffer.from('ünï'),
        /^its key holds more than printable ASCII characters$/,
      ],
      ['what moves a cursor', Buffer.from('\u001b[2J10.5.1.0-24'), /^its key holds more than printable/],
      ['no UTF-8', Buffer.from([0xff, 0x31]), /^its key holds more than printable/],
    ])('%s', (_, bytes, reason) => {
      const { name, reason: said } = keys.nameOf(keyOf(bytes));
      expect(name).toMatch(/^[!-~]{1,160}…\(sha256:[0-9a-f]{16}\)$/);
      expect(said).toMatch(reason);
    });

    test('and each another one, also where no text tells them apart', () => {
      const names = [[0xff], [0xfe], [0xff, 0xff]].map(
        (bytes) => keys.nameOf(keyOf(Buffer.from(bytes))).name,
      );
      expect(new Set(names).size).toBe(3);
    });

    test('but 255 printable characters are read', () => {
      expect(keys.nameOf(keyOf(Buffer.alloc(255, 'x'))).reason).toBeUndefined();
    });
  });

  test('of one subnet range over its dual-stack names too', () => {
    const { key, range_end } = new Keys('/x').leasesFrom('10.5.1.0-24');
    const within = (name: string) => {
      const text = `/x/subnets/${name}`;
      return text >= key.toString() && text < range_end.toString();
    };
    expect(['10.5.1.0-24', '10.5.1.0-24&fd00::-64', '10.5.1.0-240'].every(within)).toBe(true);
    expect(['10.5.1.0-25', '10.5.1.0-2', '10.5.10.0-24'].some(within)).toBe(false);
  });
});

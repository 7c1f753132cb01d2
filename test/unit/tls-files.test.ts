import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TlsFiles } from '../../src/etcd/tls-files';
import { Authority, type CertificateFiles } from '../support/certificates';

let directory: string;
let mine: CertificateFiles;
let other: CertificateFiles;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'vtepd-tls-'));
  const authority = await Authority.create('test', directory);
  mine = await authority.issue('mine', 'IP:127.0.0.1');
  other = await authority.issue('other', 'IP:127.0.0.1');
});
afterAll(() => rmSync(directory, { recursive: true }));

function file(name: string, content: string): string {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
}

const reading = (certFile: string, keyFile: string) => () => new TlsFiles({ certFile, keyFile }).read();

test('a certificate and its key are read', () => {
  const { certChain, privateKey } = reading(mine.cert, mine.key)();
  expect(certChain?.toString()).toContain('BEGIN CERTIFICATE');
  expect(privateKey?.toString()).toContain('PRIVATE KEY');
});

test('the key of another certificate is named, with the certificate', () => {
  expect(reading(mine.cert, other.key)).toThrow(
    `the key file '${other.key}' is not the key of the certificate in '${mine.cert}'`,
  );
});

test.each([
  ['PKCS #8', ['pkcs8', '-topk8', '-passout', 'pass:secret']],
  ['the old form', ['ec', '-aes128', '-passout', 'pass:secret']],
])('an encrypted key (%s) is named, and what to do about it', (_, command) => {
  const path = join(directory, `encrypted-${command[0]}.key`);
  execFileSync('openssl', [...command, '-in', mine.key, '-out', path], { stdio: 'ignore' });
  expect(reading(mine.cert, path)).toThrow(`the key file '${path}' is encrypted`);
  expect(reading(mine.cert, path)).toThrow('store it decrypted');
});

test('a damaged certificate or key is named', () => {
  const damagedCert = file('damaged.crt', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n');
  const damagedKey = file('damaged.key', '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n');
  expect(reading(damagedCert, mine.key)).toThrow(`the certificate file '${damagedCert}' is damaged`);
  expect(reading(mine.cert, damagedKey)).toThrow(
    `the key file '${damagedKey}' holds no private key, or is damaged`,
  );
  expect(reading(mine.cert, mine.cert)).toThrow(`the key file '${mine.cert}' holds no private key`);
});

test('a file that cannot be looked at counts as changed: links in a circle, a part of the path that is a file', () => {
  const path = join(directory, 'circle.crt');
  symlinkSync('circle.crt', path);
  expect(new TlsFiles({ caFile: path }).stamp).toBe('ELOOP');
  expect(() => new TlsFiles({ caFile: path }).read()).toThrow(`the CA file '${path}' cannot be read`);
  expect(new TlsFiles({ caFile: join(mine.cert, 'x') }).stamp).toBe('ENOTDIR');
  expect(new TlsFiles({ caFile: 'a\0b' }).stamp).toBe('ERR_INVALID_ARG_VALUE');
  const whole = new TlsFiles({ caFile: mine.cert }).stamp;
  expect(whole).toMatch(/^\d+:\d+:[\d.]+$/);
});

test('a CA file without a certificate that can be read is named, and one with more behind it is taken', () => {
  const damaged = file('damaged-ca.crt', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n');
  expect(() => new TlsFiles({ caFile: damaged }).read()).toThrow(`the CA file '${damaged}' is damaged`);
  expect(() => new TlsFiles({ caFile: mine.key }).read()).toThrow(`the CA file '${mine.key}' is damaged`);
  const bundle = file(
    'bundle.crt',
    `# ours\n${readFileSync(mine.cert, 'utf8')}\n${readFileSync(damaged, 'utf8')}`,
  );
  expect(new TlsFiles({ caFile: bundle }).read().rootCertificate).toHaveLength(readFileSync(bundle).length);
});

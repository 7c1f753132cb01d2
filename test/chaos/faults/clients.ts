/** Who may talk to the agent does its worst. */
import { readFileSync } from 'node:fs';
import type { Fault } from '../fault';
import { serve } from './hostile';

const HEALTH_PORT = 10_401;

export const CLIENT_FAULTS: readonly Fault[] = [
  {
    name: 'health-clients-that-never-read',
    group: 'agent',
    throughLoss: 'none',
    withinMilliseconds: 10_000,
    what: 'holds 200 connections to the health server, each with one byte or a hundred requests, and never reads: whoever asks properly is answered',
    provoke: async (scene) => {
      const { lab, victim } = scene;
      await scene.restartWith(`--healthz-port=${HEALTH_PORT}`);
      const rss = () =>
        Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${victim.agent.pid!}/status`, 'utf8'))![1]);
      const before = rss();
      const address = JSON.stringify({ host: victim.publicIp, port: HEALTH_PORT });
      const hold = `const net = require('node:net'); let begun = 0;
        const hold = (n) => {
          const socket = net.connect(${address}, () => {
            socket.write(n % 2 ? 'G' : 'GET /readyz?verbose HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n'.repeat(100));
            if (++begun === 100) console.log('connected');
          }).on('error', () => {});
          socket.pause();
          // Whatever the server thinks of it by then: it goes, and comes back.
          setTimeout(() => { socket.destroy(); hold(n); }, 1000 + 5 * n);
        };
        for (let n = 0; n < 200; n++) hold(n);
        process.stdin.resume().on('end', () => process.exit(0));`;
      await lab.hub.ip('address', 'replace', '172.30.200.2/16', 'dev', 'br0');
      await serve(scene, lab.hub, ['-e', hold]);
      const start = performance.now();
      const ask = `const http = require('node:http');
        const ask = (n) => n > 0 && http.get({ ...${address}, path: '/readyz', agent: false, timeout: 60_000 }, (answer) => {
          if (answer.statusCode !== 200) throw new Error('answered with ' + answer.statusCode);
          answer.resume().on('end', () => ask(n - 1));
        });
        ask(20);`;
      await lab.hub.run(process.execPath, ['-e', ask]);
      const milliseconds = performance.now() - start;
      const grown = rss() - before;
      if (grown > 40_000) throw new Error(`the agent has grown by ${grown} kB`);
      return milliseconds;
    },
  },
];

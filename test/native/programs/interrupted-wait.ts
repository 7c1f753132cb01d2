/** Waits half a second for an answer that does not come, while another process sends a signal every few milliseconds. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { openRequestSocket, type NativeError } from '../../../native';

process.on('SIGUSR2', () => undefined);

async function main(): Promise<void> {
  const script = 'echo ready; while kill -USR2 "$1"; do sleep 0.005; done';
  const pest = spawn('sh', ['-c', script, 'pest', String(process.pid)], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  await once(pest.stdout, 'data');
  const socket = openRequestSocket({ protocol: 0, receiveBufferBytes: 4096, timeoutMilliseconds: 500 });
  const start = performance.now();
  let code = 'none';
  try {
    socket.receive();
  } catch (error) {
    code = (error as NativeError).code;
  }
  const milliseconds = performance.now() - start;
  pest.kill('SIGKILL');
  socket.close();
  console.log(JSON.stringify({ code, milliseconds }));
}

void main();

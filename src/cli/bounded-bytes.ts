/** Reading what another program sends, of which nobody knows how much it is. */
import type { Readable } from 'node:stream';

/** All that comes until the stream ends; throws `tooMuch()` beyond so many bytes. `onPart`: whenever something has come. */
export async function bytesUpTo(
  stream: Readable,
  most: number,
  tooMuch: () => Error,
  onPart: () => void = () => undefined,
): Promise<Buffer> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of stream as AsyncIterable<Buffer>) {
    parts.push(part);
    length += part.length;
    if (length > most) throw tooMuch();
    onPart();
  }
  return Buffer.concat(parts);
}

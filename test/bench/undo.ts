/** What is changed on the machine while a bench runs, and has to be as before after it. */

/** Does it once: when it is called, or else when this process exits. */
export function atExitOrBefore(action: () => void): () => void {
  const once = () => {
    process.off('exit', once);
    action();
  };
  process.on('exit', once);
  return once;
}

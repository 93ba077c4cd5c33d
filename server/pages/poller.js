// Asks again and again while somebody looks.

const LONGEST_PAUSE = 30_000;

/**
 * One question at a time; at once when the page is shown again; with growing pauses while it fails.
 * @param {() => Promise<void>} ask
 * @param {number} interval in milliseconds
 * @param {(state: {ok: boolean, since: number, next: number, error?: any}) => void} tell after each answer; `since` when
 *     it last changed between working and failing, `next` when it asks again
 */
export function poll(ask, interval, tell) {
  let timer = 0;
  let asking = false;
  let stopped = false;
  let failures = 0;
  let ok = true;
  let since = Date.now();

  async function turn() {
    clearTimeout(timer);
    if (asking || stopped || document.hidden) return;
    asking = true;
    let error;
    try {
      await ask();
      failures = 0;
    } catch (caught) {
      error = caught;
      failures += 1;
    }
    asking = false;
    if (stopped) return;
    if (ok !== !error) since = Date.now();
    ok = !error;
    const pause = Math.min(interval * 2 ** failures, Math.max(LONGEST_PAUSE, interval));
    timer = setTimeout(turn, failures ? pause : interval);
    tell({ok, since, next: Date.now() + pause, error});
  }

  const onVisible = () => document.hidden ? clearTimeout(timer) : turn();
  document.addEventListener('visibilitychange', onVisible);
  window.addEventListener('online', turn);
  turn();
  return {
    now: turn,
    stop() {
      stopped = true;
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', onVisible);
      window.removeEventListener('online', turn);
    },
  };
}

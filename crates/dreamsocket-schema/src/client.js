const FIRST_WAIT = 500;
const LONGEST_WAIT = 30_000;
const OPENING_TIME = 10_000; // A handshake that takes longer has failed.
const STEADY_TIME = 5_000; // A connection that lived this long starts the waits from the beginning.

/// Going away, lost, error, restart, try again later. What ended with another code would end the same way.
const TEMPORARY = [1001, 1006, 1011, 1012, 1013];

/// Connects to `url` and stays connected until `close()`, or until the server closes with a code that is not temporary.
///
/// `handlers.onState({ state, retryAt, code, reason })` is called with 'connecting', 'open', 'waiting' or 'refused';
/// `handlers.onMessage(message)` with each message.
export function connect(url, handlers) {
  let socket = null;
  let timer = null;
  let attempts = 0;
  let openedAt = 0;
  let ended = false;

  function open() {
    clearTimeout(timer);
    const opening = new WebSocket(url);
    socket = opening;
    timer = setTimeout(() => opening.close(), OPENING_TIME);
    opening.onopen = () => {
      clearTimeout(timer);
      openedAt = Date.now();
      handlers.onState?.({ state: "open" });
    };
    opening.onmessage = ({ data }) => {
      if (socket === opening) handlers.onMessage(JSON.parse(data));
    };
    opening.onclose = ({ code, reason }) => {
      if (socket === opening) lost(code, reason);
    };
    // When all else is done: the handler may close, or throw.
    handlers.onState?.({ state: "connecting" });
  }

  function lost(code, reason) {
    clearTimeout(timer);
    socket = null;
    if (ended) return;
    if (!TEMPORARY.includes(code)) {
      end();
      handlers.onState?.({ state: "refused", code, reason });
      return;
    }
    if (openedAt > 0 && Date.now() - openedAt > STEADY_TIME) attempts = 0;
    openedAt = 0;
    // Half of the wait is chance, so that all who lost the same server do not come back in the same moment.
    const longest = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** attempts);
    const wait = longest / 2 + (longest / 2) * Math.random();
    attempts += 1;
    timer = setTimeout(open, wait);
    handlers.onState?.({ state: "waiting", retryAt: Date.now() + wait, reason });
  }

  function retry() {
    if (!ended && socket === null) open();
  }

  // A browser without a network does not close its sockets: they would hang until TCP gives up.
  function drop() {
    const dropped = socket;
    if (dropped === null) return;
    dropped.close();
    lost(1006, "");
  }

  function end() {
    ended = true;
    clearTimeout(timer);
    removeEventListener("online", retry);
    removeEventListener("offline", drop);
    document.removeEventListener("visibilitychange", retryIfSeen);
  }

  function close() {
    end();
    socket?.close(1000);
    socket = null;
  }

  function retryIfSeen() {
    if (!document.hidden) retry();
  }

  addEventListener("online", retry);
  addEventListener("offline", drop);
  document.addEventListener("visibilitychange", retryIfSeen);
  try {
    open();
  } catch (error) {
    close(); // Nobody else could.
    throw error;
  }

  return {
    /// Sends a message; false if there is no connection now.
    send(message) {
      if (socket?.readyState !== WebSocket.OPEN) return false;
      socket.send(JSON.stringify(message));
      return true;
    },
    retry,
    close,
  };
}

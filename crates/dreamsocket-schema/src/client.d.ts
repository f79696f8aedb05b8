
/// How it stands with the connection.
export type State =
  | { state: "connecting" }
  | { state: "open" }
  /** The next attempt is made at `retryAt`, in milliseconds since 1970. */
  | { state: "waiting"; retryAt: number; reason: string }
  /** The server has closed with another code than 1001, 1006, 1011, 1012 and 1013: it is not tried again. */
  | { state: "refused"; code: number; reason: string };

export interface Handlers {
  onMessage(message: INCOMING): void;
  onState?(change: State): void;
}

export interface Connection {
  /** Sends a message; false if there is no connection now. */
  send(message: OUTGOING): boolean;
  /** Does not wait for the next attempt. */
  retry(): void;
  /** Closes for good. */
  close(): void;
}

/** Connects to `url` and stays connected until `close()`, or until the server closes with a code that is not temporary. */
export function connect(url: string | URL, handlers: Handlers): Connection;

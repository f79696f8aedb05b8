// The search protocol, version 1.0.0. Written by dreamsocket-schema from the Rust types: change those, and run it again.

/** What a client asks for. */
export type Ask =
  /** Two numbers. */
  | {
    a: number;
    b?: number | null;
    type: "add";
  }
  | Query & {
    type: "search";
  }
  | {
    type: "stop";
  };

export type Kind =
  | "Plain"
  | {
    Shop: {
      items: number;
    };
  }
  | {
    Two: [number, string];
  };

export interface Page {
  kind: Kind;
  /** Those that it leads to. */
  links: Page[];
  name: string;
}

export interface Query {
  "max-results"?: number | null;
  tags?: Tag[];
  text: string;
}

export type Tag = "old" | "new";

export type Tell =
  | {
    sum: number;
    took: number;
    type: "sum";
  }
  | {
    by_tag: { [key: string]: number };
    pages: Page[];
    place: [number, number];
    type: "found";
  }
  | {
    query: Query;
    type: "nothing";
  };

/// How it stands with the connection.
export type State =
  | { state: "connecting" }
  | { state: "open" }
  /** The next attempt is made at `retryAt`, in milliseconds since 1970. */
  | { state: "waiting"; retryAt: number; reason: string }
  /** The server has closed with another code than 1001, 1006, 1011, 1012 and 1013: it is not tried again. */
  | { state: "refused"; code: number; reason: string };

export interface Handlers {
  onMessage(message: Tell): void;
  onState?(change: State): void;
}

export interface Connection {
  /** Sends a message; false if there is no connection now. */
  send(message: Ask): boolean;
  /** Does not wait for the next attempt. */
  retry(): void;
  /** Closes for good. */
  close(): void;
}

/** Connects to `url` and stays connected until `close()`, or until the server closes with a code that is not temporary. */
export function connect(url: string | URL, handlers: Handlers): Connection;

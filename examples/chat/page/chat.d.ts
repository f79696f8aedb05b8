// The chat protocol, version 1.0.0. Written by dreamsocket-schema from the Rust types: change those, and run it again.

/** What a client asks for. */
export type Command =
  /** `since` is the position of the last message that the client has of this room, if it has any. */
  | {
    room: string;
    since?: string | null;
    type: "enter";
  }
  | {
    room: string;
    type: "leave";
  }
  | {
    room: string;
    text: string;
    type: "say";
  }
  | {
    room: string;
    type: "typing";
  };

/** Somebody in a room. */
export interface Present {
  name: string;
  tabs: number;
}

/** What a client is told. Times are milliseconds since 1970. */
export type Tell =
  /** To everybody in the room. The position is where a client that comes back goes on. */
  | {
    /** Milliseconds since 1970. */
    at: number;
    name: string;
    position: string | null;
    room: string;
    text: string;
    type: "said";
  }
  | Typing & {
    type: "typing";
  }
  | {
    at: number;
    name: string;
    room: string;
    type: "joined";
  }
  /** Somebody who is there has opened or closed another tab. */
  | {
    name: string;
    room: string;
    tabs: number;
    type: "tabs";
  }
  | {
    at: number;
    name: string;
    room: string;
    type: "left";
  }
  /** The client is in the room. What it has not heard comes behind this; all of it was said before `at`. */
  | {
    at: number;
    room: string;
    type: "entered";
  }
  /** Who is in the room: after it was entered, and when a client was so slow that it missed who came and went. */
  | {
    people: Present[];
    room: string;
    type: "people";
  }
  /** This many messages of the room are missing here, or nobody knows how many. */
  | {
    count: number | null;
    room: string;
    type: "missed";
  }
  /** The client is too fast: what it sent waits this many milliseconds before it is looked at. */
  | {
    type: "slowed";
    wait: number;
  }
  /** What the client sent was not done. A room is named if it cannot be entered. */
  | {
    reason: string;
    room?: string | null;
    type: "refused";
  };

/** Somebody is writing: of no use to whoever was not there. */
export interface Typing {
  name: string;
  room: string;
}

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
  send(message: Command): boolean;
  /** Does not wait for the next attempt. */
  retry(): void;
  /** Closes for good. */
  close(): void;
}

/** Connects to `url` and stays connected until `close()`, or until the server closes with a code that is not temporary. */
export function connect(url: string | URL, handlers: Handlers): Connection;

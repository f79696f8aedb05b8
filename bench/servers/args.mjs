// The command line, which is that of `src/args.rs`, and what the two JavaScript servers share of it.

import { parseArgs } from "node:util";

export const MAX_MESSAGE = 4 * 1024 * 1024;

/// How many messages a subscriber may fall behind.
export const BEHIND = 4096;

export function readArgs(name) {
  let values;
  try {
    ({ values } = parseArgs({
      options: {
        listen: { type: "string" },
        deflate: { type: "boolean", default: false },
        "tls-cert": { type: "string" },
        "tls-key": { type: "string" },
      },
    }));
    if (values.listen === undefined) throw new Error("--listen is missing");
    if ((values["tls-cert"] === undefined) !== (values["tls-key"] === undefined)) {
      throw new Error("--tls-cert and --tls-key go together");
    }
  } catch (error) {
    console.error(`${name}: ${error.message}`);
    process.exit(1);
  }
  for (const signal of ["SIGTERM", "SIGINT"]) {
    process.on(signal, () => process.exit(0));
  }
  const [, hostname, port] = values.listen.match(/^(.*):(\d+)$/);
  return {
    hostname,
    port: Number(port),
    deflate: values.deflate,
    cert: values["tls-cert"],
    key: values["tls-key"],
  };
}

/// The topic that a path listens to and the one that what is said goes to; nothing for a path that is not served.
export function topics(path) {
  if (path === "/echo") return {};
  if (path === "/sub") return { hears: "pub" };
  if (path === "/pub") return { tells: "pub" };
  if (path.startsWith("/chat/")) return { hears: path, tells: path };
}

// Node with `ws`, and with `bufferutil`, which it recommends for Node before 26 (UTF-8 is checked by Node itself).
//
// It writes each message by itself; what goes to many is a loop over them, as in its examples. Compression has no context
// takeover and is otherwise as by default, but for the threshold, which would leave out messages of less than 1 KiB.

import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { WebSocketServer } from "ws";
import { BEHIND, MAX_MESSAGE, readArgs, topics } from "../args.mjs";

const args = readArgs("node-ws");

// Both have TCP_NODELAY on by default.
const server = args.cert
  ? https.createServer({ cert: readFileSync(args.cert), key: readFileSync(args.key) })
  : http.createServer();

const sockets = new WebSocketServer({
  noServer: true,
  maxPayload: MAX_MESSAGE,
  clientTracking: false,
  perMessageDeflate: args.deflate && {
    serverNoContextTakeover: true,
    clientNoContextTakeover: true,
    threshold: 128,
  },
});

/// Who hears each topic.
const members = new Map();

function join(topic, socket) {
  if (!members.has(topic)) members.set(topic, new Set());
  members.get(topic).add(socket);
  socket.on("close", () => members.get(topic).delete(socket));
}

function publish(topic, data, isBinary) {
  // Waiting bytes are all that it tells: as many as so many messages of this size would be, but never less than 1 MiB.
  const behind = Math.max(BEHIND * (data.length + 4), 1024 * 1024);
  for (const member of members.get(topic) ?? []) {
    if (member.bufferedAmount > behind) member.terminate();
    else member.send(data, { binary: isBinary });
  }
}

server.on("upgrade", (request, connection, head) => {
  const wanted = topics(request.url);
  if (!wanted) {
    connection.end("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    return;
  }
  sockets.handleUpgrade(request, connection, head, (socket) => {
    const { hears, tells } = wanted;
    // What is wrong with a connection ends it; the load generator notices.
    socket.on("error", () => {});
    if (hears) join(hears, socket);
    socket.on("message", (data, isBinary) => {
      if (tells) publish(tells, data, isBinary);
      else if (!hears) socket.send(data, { binary: isBinary });
    });
  });
});

server.listen({ host: args.hostname, port: args.port, backlog: 4096 }, () => {
  const { address, port } = server.address();
  console.log(`listening on ${address}:${port}`);
});

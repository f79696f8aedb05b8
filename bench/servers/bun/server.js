// Bun, with uWebSockets inside: `Bun.serve`, and its own publish and subscribe, which write what a turn of the event loop
// publishes in one go.
//
// Its documentation recommends no other settings for speed; TCP_NODELAY is on. It has no setting for the backlog of the
// listening socket, nor a bound in messages: a subscriber is closed when 16 MiB (its default) wait for it. Compressors are
// "shared", which is without context takeover.

import { MAX_MESSAGE, readArgs, topics } from "../args.mjs";

const args = readArgs("bun");

const server = Bun.serve({
  hostname: args.hostname,
  port: args.port,
  tls: args.cert && { cert: Bun.file(args.cert), key: Bun.file(args.key) },
  fetch(request, server) {
    const data = topics(new URL(request.url).pathname);
    if (data && server.upgrade(request, { data })) return;
    return new Response(null, { status: data ? 400 : 404 });
  },
  websocket: {
    maxPayloadLength: MAX_MESSAGE,
    closeOnBackpressureLimit: true,
    perMessageDeflate: args.deflate && { compress: "shared", decompress: "shared" },
    open(socket) {
      if (socket.data.hears) socket.subscribe(socket.data.hears);
    },
    message(socket, message) {
      const { hears, tells } = socket.data;
      if (tells) server.publish(tells, message, args.deflate);
      else if (!hears) socket.send(message, args.deflate);
    },
  },
});

console.log(`listening on ${server.hostname}:${server.port}`);

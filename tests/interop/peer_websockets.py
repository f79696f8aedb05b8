"""Python's `websockets`, as a client of ours or a server for our client. See README.md for how it is called."""
import asyncio
import sys

import websockets
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, ServerPerMessageDeflateFactory

from checks import GOING_AWAY, MEBIBYTE, MESSAGES, REPEATED, REPETITIONS, TOO_LONG, check

# What a client may ask for: keyword arguments of the library's offer.
OFFERS = {
    "default": {},
    "server alone": {"server_no_context_takeover": True},
    "client alone": {"client_no_context_takeover": True},
    "server window 9": {"server_max_window_bits": 9},
    "client window 9": {"client_max_window_bits": 9},
    "windows 15": {"server_max_window_bits": 15, "client_max_window_bits": 15},
}


def options(deflate, offer="default"):
    if deflate == "off":
        return {"compression": None, "max_size": 2 * MEBIBYTE}
    factory = ClientPerMessageDeflateFactory(**{"client_max_window_bits": True, **OFFERS[offer]})
    return {"compression": None, "extensions": [factory], "max_size": 2 * MEBIBYTE}


async def talk(peer):
    """Has everything echoed: the same whether we are the client or the server."""
    for name, message in MESSAGES.items():
        await peer.send(message)
        check(name, await peer.recv(), message)
    for _ in range(REPETITIONS):
        await peer.send(REPEATED)
        check("repeated text", await peer.recv(), REPEATED)
    await peer.send(["frag", "men", "ts"])
    check("fragments", await peer.recv(), "fragments")
    await asyncio.wait_for(await peer.ping(b"payload"), 20)
    check("ping", True, True)
    for number in range(200):
        await peer.send(str(number))
    check("200 at once", [await peer.recv() for _ in range(200)], [str(number) for number in range(200)])


async def run_client(url, deflate):
    for offer in OFFERS if deflate != "off" else ["default"]:
        async with connect(url, subprotocols=["other", "echo.v1"], **options(deflate, offer)) as peer:
            names = [extension.name for extension in peer.protocol.extensions]
            check(f"{offer}: extensions", names, [] if deflate == "off" else ["permessage-deflate"])
            check("subprotocol", peer.subprotocol, "echo.v1")
            await talk(peer)
            await peer.close(4001, "bye")
            check("clean close", peer.close_code, 4001)
    peer = await connect(url, **options(deflate))
    await peer.send("hello")
    peer.transport.abort()
    async with connect(url, **options(deflate)) as again:
        await again.send("hello")
        check("unclean close, and another connection", await again.recv(), "hello")


async def expect_end(peer, name, code):
    try:
        check(name, await peer.recv(), "the end")
    except websockets.ConnectionClosed:
        await peer.wait_closed()
    answered = peer.protocol.close_sent is not None and peer.protocol.close_sent.code
    check(name, (peer.close_code, answered), (code, code))


async def run_ended(url, deflate):
    async with connect(url, **options(deflate)) as peer:
        await peer.send(TOO_LONG)
        await expect_end(peer, "too long", 1009)
    async with connect(url, **options(deflate)) as peer:
        await peer.send("hello")
        check("before the end", await peer.recv(), "hello")
        print("ready", flush=True)
        await expect_end(peer, "server ends", 1001)
        check("the reason", peer.close_reason, GOING_AWAY)


async def handle(peer):
    if peer.request.path == "/abort":
        await peer.send("hello")
        check("before the unclean close", await peer.recv(), "hello")
        peer.transport.abort()
        return
    await talk(peer)
    await peer.close(4001, "bye")
    check("clean close", peer.close_code, 4001)


async def run_server(deflate):
    extensions = [] if deflate == "off" else [ServerPerMessageDeflateFactory()]
    async with serve(
        handle, "127.0.0.1", 0, compression=None, extensions=extensions, max_size=2 * MEBIBYTE, subprotocols=["echo.v1"]
    ) as server:
        print(f"listening on {server.sockets[0].getsockname()[1]}", flush=True)
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    print(f"# websockets {websockets.__version__}")
    role, *rest = sys.argv[1:]
    asyncio.run({"client": run_client, "ended": run_ended, "server": run_server}[role](*rest))

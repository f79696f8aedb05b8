"""Python's `aiohttp`, as a client of ours or a server for our client. See README.md for how it is called."""
import asyncio
import sys

import aiohttp
from aiohttp import WSMsgType, web

from checks import GOING_AWAY, MEBIBYTE, MESSAGES, REPEATED, REPETITIONS, TOO_LONG, check


async def send(peer, message):
    await (peer.send_str if isinstance(message, str) else peer.send_bytes)(message)


async def talk(peer):
    """Has everything echoed: the same whether we are the client or the server."""
    for name, message in MESSAGES.items():
        await send(peer, message)
        check(name, (await peer.receive(20)).data, message)
    for _ in range(REPETITIONS):
        await peer.send_str(REPEATED)
        check("repeated text", (await peer.receive(20)).data, REPEATED)
    await peer.ping(b"payload")
    message = await peer.receive(20)
    check("ping", (message.type, bytes(message.data)), (WSMsgType.PONG, b"payload"))
    for number in range(200):
        await peer.send_str(str(number))
    got = [(await peer.receive(20)).data for _ in range(200)]
    check("200 at once", got, [str(number) for number in range(200)])


async def run_client(url, deflate):
    async with aiohttp.ClientSession() as session:
        for bits in [0] if deflate == "off" else [15, 9]:
            options = {"compress": bits, "max_msg_size": 2 * MEBIBYTE, "autoping": False}
            async with session.ws_connect(url, protocols=["other", "echo.v1"], **options) as peer:
                check(f"{bits} bits: compression", bool(peer.compress), deflate != "off")
                check("subprotocol", peer.protocol, "echo.v1")
                await talk(peer)
                await peer.close(code=4001, message=b"bye")
                check("clean close", peer.close_code, 4001)
        peer = await session.ws_connect(url)
        await peer.send_str("hello")
        peer._response.connection.transport.abort()
        async with session.ws_connect(url) as again:
            await again.send_str("hello")
            check("unclean close, and another connection", (await again.receive(20)).data, "hello")


async def run_ended(url, deflate):
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(url, compress=0 if deflate == "off" else 15) as peer:
            await peer.send_str(TOO_LONG)
            message = await peer.receive(20)
            check("too long", (message.type, message.data), (WSMsgType.CLOSE, 1009))
        async with session.ws_connect(url) as peer:
            await peer.send_str("hello")
            check("before the end", (await peer.receive(20)).data, "hello")
            print("ready", flush=True)
            message = await peer.receive(20)
            check("server ends", (message.type, message.data), (WSMsgType.CLOSE, 1001))
            check("the reason", message.extra, GOING_AWAY)


async def handle(request):
    peer = web.WebSocketResponse(
        compress=request.app["deflate"] != "off", max_msg_size=2 * MEBIBYTE, autoping=False, protocols=["echo.v1"]
    )
    await peer.prepare(request)
    if request.path == "/abort":
        await peer.send_str("hello")
        check("before the unclean close", (await peer.receive(20)).data, "hello")
        request.transport.abort()
        return peer
    await talk(peer)
    await peer.close(code=4001, message=b"bye")
    check("clean close", peer.close_code, 4001)
    return peer


async def run_server(deflate):
    app = web.Application()
    app["deflate"] = deflate
    app.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(f"listening on {site._server.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    print(f"# aiohttp {aiohttp.__version__}")
    role, *rest = sys.argv[1:]
    asyncio.run({"client": run_client, "ended": run_ended, "server": run_server}[role](*rest))

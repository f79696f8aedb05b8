#!/usr/bin/env python3
"""Foreign WebSocket libraries against the echo example, in both roles and each way of compressing.

    run.py ECHO ECHO_CLIENT [PEER]

ECHO and ECHO_CLIENT are the built programs. Between the two sides stands a proxy that counts bytes, so that compression is
seen on the wire and not only in a header. Prints a line a run and `N passed, N failed`; exits 1 if any failed.
"""
import asyncio
import pathlib
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
PEERS = {
    "websockets": [sys.executable, str(HERE / "peer_websockets.py")],
    "aiohttp": [sys.executable, str(HERE / "peer_aiohttp.py")],
    "ws": ["node", str(HERE / "peer_ws.js")],
}
MODES = ["off", "shared", "dedicated"]
PATIENCE = 60

# What a connection exchanges is a bit more than 2 MiB each way, half of which can't be compressed.
MEBIBYTE = 1024 * 1024


class Failed(Exception):
    pass


class Proxy:
    """Counts the bytes of those connections that have exchanged everything."""

    def __init__(self, port):
        self.port = port
        self.counts = []

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.handle, "127.0.0.1", 0)
        self.url = f"ws://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_):
        self.server.close()

    async def handle(self, reader, writer):
        there = await asyncio.open_connection("127.0.0.1", self.port)
        count = [0, 0]
        self.counts.append(count)
        await asyncio.gather(self.carry(reader, there[1], count, 0), self.carry(there[0], writer, count, 1))

    async def carry(self, reader, writer, count, direction):
        try:
            while data := await reader.read(65536):
                count[direction] += len(data)
                writer.write(data)
                await writer.drain()
            writer.write_eof()
        except OSError:
            writer.transport.abort()

    def check(self, mode):
        whole = [count for count in self.counts if min(count) > MEBIBYTE]
        if not whole:
            raise Failed("no connection exchanged everything")
        for count in whole:
            if (max(count) > 1.3 * MEBIBYTE) != (mode == "off"):
                raise Failed(f"{count} bytes went there and back, with compression {mode}")


async def start(command, **options):
    return await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, cwd=HERE, **options
    )


async def listen(command, prefix):
    """Starts a server; the process and what it says about where."""
    process = await start(command)
    while line := (await asyncio.wait_for(process.stdout.readline(), PATIENCE)).decode():
        if line.startswith(prefix):
            return process, line[len(prefix):].strip()
    raise Failed(f"{command[-1]} did not start")


async def finish(process):
    """What a program says until its end, and its exit code."""
    output = (await asyncio.wait_for(process.stdout.read(), PATIENCE)).decode()
    return output, await process.wait()


async def stop(process):
    if process.returncode is None:
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 10)
        except TimeoutError:
            process.kill()


async def against_our_server(echo, peer, mode):
    server, address = await listen(
        [echo, "--listen", "127.0.0.1:0", "--deflate", mode, "--subprotocol", "echo.v1"], "listening on "
    )
    try:
        async with Proxy(int(address.rpartition(":")[2])) as proxy:
            client = await start([*PEERS[peer], "client", f"{proxy.url}/echo", mode])
            try:
                output, code = await finish(client)
            finally:
                await stop(client)
            if code != 0:
                raise Failed(output[-500:])
            proxy.check(mode)
            return output.count("ok ")
    finally:
        await stop(server)


async def against_our_client(echo_client, peer, mode):
    server, port = await listen([*PEERS[peer], "server", mode], "listening on ")
    try:
        async with Proxy(int(port)) as proxy:
            for path, expected, expected_code in [
                ("/", "closed 4001 peer clean", 0),
                ("/abort", "closed 1006 lost unclean", 1),
            ]:
                client = await start([echo_client, "--deflate", mode, "--subprotocol", "echo.v1", proxy.url + path])
                try:
                    output, code = await finish(client)
                finally:
                    await stop(client)
                if (output.strip(), code) != (expected, expected_code):
                    raise Failed(f"{path}: our client said {output.strip()!r} and ended with {code}")
            proxy.check(mode)
        await stop(server)
        said = (await server.stdout.read()).decode()
        count = said.count("ok ")
        if "expected" in said or "ok clean close" not in said or "ok before the unclean close" not in said:
            raise Failed(said[-500:])
        return count
    finally:
        await stop(server)


async def main():
    echo, echo_client = (str(pathlib.Path(program).resolve()) for program in sys.argv[1:3])
    only = sys.argv[3:]
    passed = failed = 0
    for peer in only or PEERS:
        for mode in MODES:
            for name, run, program in [
                (f"{peer} as the client, compression {mode}", against_our_server, echo),
                (f"{peer} as the server, compression {mode}", against_our_client, echo_client),
            ]:
                begin = time.monotonic()
                try:
                    checks = await run(program, peer, mode)
                    passed += 1
                    print(f"ok: {name}: {checks} checks in {time.monotonic() - begin:.1f} s", flush=True)
                except (Failed, TimeoutError) as error:
                    failed += 1
                    print(f"FAILED: {name}: {error or 'it took too long'}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))

#!/usr/bin/env python3
"""Foreign WebSocket libraries against the echo example, in both roles and each way of compressing.

    run.py ECHO ECHO_CLIENT [PEER]

ECHO and ECHO_CLIENT are the built programs. Between the two sides stands a proxy that counts bytes, so that compression is
seen on the wire and not only in a header. Prints a line a run and `N passed, N failed`; exits 1 if any failed.
"""
import asyncio
import pathlib
import signal
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

# A connection exchanges a bit more than 3 MiB each way: text, noise, and what repeats itself. Compression takes the first and
# half of the last away, context takeover all of the last. In MiB, the least and the most that may be on the wire:
MEBIBYTE = 1024 * 1024
WIRE = {"off": (2.9, 3.2), "shared": (1.4, 1.7), "dedicated": (0.95, 1.2)}


class Failed(Exception):
    pass


class Proxy:
    """Counts the bytes of those connections that have exchanged everything."""

    def __init__(self, port):
        self.port = port
        self.counts = []
        self.tasks = []
        self.writers = []

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.handle, "127.0.0.1", 0)
        self.url = f"ws://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_):
        self.server.close()
        for writer in self.writers:
            writer.transport.abort()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def handle(self, reader, writer):
        self.tasks.append(asyncio.current_task())
        self.writers.append(writer)
        there = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers.append(there[1])
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
        whole = [count for count in self.counts if min(count) > 0.9 * MEBIBYTE]
        if not whole:
            raise Failed("no connection exchanged everything")
        least, most = (limit * MEBIBYTE for limit in WIRE[mode])
        # The first is as both sides do it if nothing is asked for; later ones may ask for less than the mode allows.
        if not all(least < size < most for size in whole[0]):
            raise Failed(f"{whole[0]} bytes went there and back, with compression {mode}")
        for count in whole[1:]:
            if max(count) > WIRE["off" if mode == "off" else "shared"][1] * MEBIBYTE:
                raise Failed(f"{count} bytes went there and back, with compression {mode} and an offer of its own")


async def start(command, **options):
    return await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, cwd=HERE, **options
    )


async def listen(command, prefix):
    """Starts a server; the process and what it says about where."""
    process = await start(command)
    try:
        return process, (await read_until(process, prefix))[0]
    except BaseException:
        await stop(process)
        raise


async def read_until(process, prefix):
    """The rest of the first line that begins so, and the lines before it."""
    said = ""
    while line := (await asyncio.wait_for(process.stdout.readline(), PATIENCE)).decode():
        if line.startswith(prefix):
            return line[len(prefix):].strip(), said
        said += line
    raise Failed(f"it ended without saying {prefix!r}; it said {said[-500:]!r}")


async def finish(process):
    """What a program says until its end, and its exit code."""
    output = (await asyncio.wait_for(process.stdout.read(), PATIENCE)).decode()
    return output, await asyncio.wait_for(process.wait(), PATIENCE)


async def stop(process):
    if process.returncode is None:
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 10)
        except asyncio.TimeoutError:
            process.kill()
            await process.wait()


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


async def ended_by_our_server(echo, peer, mode):
    bound = ["--max-message", "65536"]
    server, address = await listen([echo, "--listen", "127.0.0.1:0", "--deflate", mode, *bound], "listening on ")
    try:
        client = await start([*PEERS[peer], "ended", f"ws://{address}/echo", mode])
        try:
            _, before = await read_until(client, "ready")
            server.terminate()
            output, code = await finish(client)
        finally:
            await stop(client)
        if code != 0:
            raise Failed(output[-500:])
        if await asyncio.wait_for(server.wait(), PATIENCE) != 0:
            raise Failed(f"our server ended with {server.returncode}")
        return (before + output).count("ok ")
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
                (f"{peer} when our server ends it, compression {mode}", ended_by_our_server, echo),
                (f"{peer} as the server, compression {mode}", against_our_client, echo_client),
            ]:
                begin = time.monotonic()
                try:
                    checks = await run(program, peer, mode)
                    passed += 1
                    print(f"ok: {name}: {checks} checks in {time.monotonic() - begin:.1f} s", flush=True)
                # Whatever it is, the other runs and the summary still come.
                except Exception as error:
                    failed += 1
                    why = str(error) if isinstance(error, Failed) else repr(error)
                    print(f"FAILED: {name}: {why}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def interrupt(*_):
    raise KeyboardInterrupt


if __name__ == "__main__":
    # So that programs are stopped then, too.
    signal.signal(signal.SIGTERM, interrupt)
    sys.exit(asyncio.run(main()))

"""What every peer is asked to do, so that all of them are asked the same. Each library's file says how."""

LINE = "".join(f'{{"line":{number},"text":"hello"}}' for number in range(40))
MEBIBYTE = 1024 * 1024

TEXTS = {
    "text": "hello",
    "text of many scripts": "aä€😀 ひらがな",
    "empty text": "",
    "compressible text": LINE,
    "1 MiB of text": (LINE * 1000)[:MEBIBYTE],
}

BINARIES = {
    "binary": bytes(range(256)),
    "empty binary": b"",
    # A generator with a long period, in which DEFLATE finds nothing.
    "1 MiB of noise": b"".join((number * 2654435761 % 2**32).to_bytes(4, "little") for number in range(MEBIBYTE // 4)),
}

MESSAGES = {**TEXTS, **BINARIES}

# Half its length when compressed by itself; behind itself, with context takeover, next to nothing. A window of 15 bits holds
# it twice. (Noise as it is would not do: one side may send it uncompressed, and then nothing can refer back to it.)
REPEATED = BINARIES["1 MiB of noise"][: 8 * 1024].hex()
REPETITIONS = 64

# What a server started with this bound refuses, though compressed it is far below.
TOO_LONG = LINE * 100

# What a server says that was asked to end.
GOING_AWAY = "the server is shutting down"


def check(name, got, expected):
    """Says that something is as it should be, or ends the program."""
    if got != expected:
        raise SystemExit(f"{name}: expected {str(expected)[:100]!r}, got {str(got)[:100]!r}")
    print(f"ok {name}", flush=True)

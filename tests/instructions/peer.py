"""A peer that knows just enough of RFC 6455 to send binary messages and to count those that come."""

import socket
import struct

PATIENCE = 60
MASK = bytes([1, 2, 3, 4])


class Peer:
    def __init__(self, port, path):
        self.io = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.io.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        request = (
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        self.io.sendall(request.encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.read(1)
        assert head.startswith(b"HTTP/1.1 101"), head

    def send(self, size, count):
        """So many messages with one write. The payload is zeros, so the mask is what is seen of it."""
        payload = (MASK * (size // 4 + 1))[:size]
        self.io.sendall((header(size, 0x80) + MASK + payload) * count)

    def receive(self, size, count):
        """Waits for so many messages."""
        frames = self.read((len(header(size, 0)) + size) * count)
        assert frames == (header(size, 0) + bytes(size)) * count

    def read(self, size):
        read = b""
        while len(read) < size:
            more = self.io.recv(size - len(read))
            assert more, "the server has ended the connection"
            read += more
        return read


def header(size, mask):
    if size < 126:
        return struct.pack(">BB", 0x82, mask | size)
    return struct.pack(">BBH", 0x82, mask | 126, size)

"""A port on loopback that leads to the registry: it counts what passes, and makes the way longer where that is asked.

Without latency the kernel moves the bytes from socket to socket (splice), so that counting costs next to nothing. With
latency each piece arrives half a round trip later, none waits for the one before it, and a connection takes one round
trip to be made. Bandwidth is not bounded. What is counted is the payload of TCP: bodies and HTTP's own lines.
"""

import contextlib
import os
import queue
import socket
import threading
import time

PIECE = 1 << 16
MOST_PIECES = 1024
"""Under way at a time in one direction of a connection: 64 MiB, more than 12.5 ms of loopback."""


class Proxy:
    """Leads to a port of this machine, for one `with` block."""

    def __init__(self, port: int, round_trip: float):
        """`round_trip` is in seconds."""
        self.port, self.half = port, round_trip / 2
        self.bytes = {"up": 0, "down": 0}
        """To the registry, and from it, since the start."""
        self.lock = threading.Lock()
        self.open: set[socket.socket] = set()
        self.ended = False
        self.address = ""

    def __enter__(self):
        self.server = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.address = f"localhost:{self.server.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.ended = True
        with contextlib.suppress(OSError):
            self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        with self.lock:
            for connection in self.open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def counted(self) -> dict[str, int]:
        with self.lock:
            return dict(self.bytes)

    def accept(self) -> None:
        while not self.ended:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, client: socket.socket) -> None:
        time.sleep(2 * self.half)  # The handshake.
        with client, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)) as registry:
            for connection in (client, registry):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self.open |= {client, registry}
            carry = self.later if self.half else self.now
            back = threading.Thread(target=carry, args=(registry, client, "down"), daemon=True)
            back.start()
            carry(client, registry, "up")
            back.join()
            with self.lock:
                self.open -= {client, registry}

    def count(self, direction: str, number: int) -> None:
        with self.lock:
            self.bytes[direction] += number

    def now(self, source: socket.socket, sink: socket.socket, direction: str) -> None:
        """Moves all that comes, to its end."""
        inner, outer = os.pipe()
        try:
            with contextlib.suppress(OSError):
                while moved := os.splice(source.fileno(), outer, PIECE):
                    self.count(direction, moved)
                    while moved:
                        moved -= os.splice(inner, sink.fileno(), moved)
        finally:
            os.close(inner)
            os.close(outer)
            end(sink)

    def later(self, source: socket.socket, sink: socket.socket, direction: str) -> None:
        """The same, half a round trip later."""
        pieces: queue.Queue[tuple[float, bytes]] = queue.Queue(MOST_PIECES)
        sending = threading.Thread(target=self.send, args=(pieces, sink), daemon=True)
        sending.start()
        piece = b"first"
        while piece:
            piece = b""
            with contextlib.suppress(OSError):
                piece = source.recv(PIECE)
            self.count(direction, len(piece))
            pieces.put((time.monotonic() + self.half, piece))
        sending.join()

    def send(self, pieces: queue.Queue, sink: socket.socket) -> None:
        broken = False
        while True:
            due, piece = pieces.get()
            time.sleep(max(0.0, due - time.monotonic()))
            if not piece:
                return end(sink)
            # What comes after a break is taken and dropped, or the reader would wait for room for ever.
            if not broken:
                try:
                    sink.sendall(piece)
                except OSError:
                    broken = True


def end(sink: socket.socket) -> None:
    """Says that nothing more comes this way; the other way stays open."""
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)

"""As much of AMQP 0-9-1 as a test needs to do to a broker what an admin might do by mistake."""

import socket
import struct
import urllib.parse

TIMEOUT_SECONDS = 20
METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8


class Broker:
    """One connection with one channel. Publishes without confirms."""

    def __init__(self, url):
        parts = urllib.parse.urlsplit(url)
        self._socket = socket.create_connection((parts.hostname, parts.port), TIMEOUT_SECONDS)
        self._socket.sendall(b"AMQP\x00\x00\x09\x01")
        self._expect(10, 10)  # connection.start
        login = f"\0{parts.username}\0{parts.password}".encode()
        self._send(10, 11, struct.pack(">I", 0) + _short("PLAIN") + struct.pack(">I", len(login)) + login
                   + _short("en_US"), channel=0)
        tune = self._expect(10, 30)
        self._send(10, 31, tune[:6] + struct.pack(">H", 0), channel=0)  # connection.tune-ok: no heartbeats
        self._send(10, 40, _short(urllib.parse.unquote(parts.path[1:])) + b"\x00\x00", channel=0)
        self._expect(10, 41)
        self._call(20, 10, b"\x00")  # channel.open

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._send(10, 50, struct.pack(">H", 200) + _short("") + struct.pack(">HH", 0, 0), channel=0)
        self._expect(10, 51)
        self._socket.close()

    def publish(self, queue, body, times=1):
        """Through the default exchange."""
        for _ in range(times):
            self._send(60, 40, b"\x00\x00" + _short("") + _short(queue) + b"\x00")
            self._frame(HEADER, struct.pack(">HHQH", 60, 0, len(body), 0))
            self._frame(BODY, body)
        self._call(20, 20, b"\x01")  # channel.flow: is answered when all before it was read.

    def purge(self, queue):
        self._call(50, 30, b"\x00\x00" + _short(queue) + b"\x00")

    def delete(self, queue):
        self._call(50, 40, b"\x00\x00" + _short(queue) + b"\x00")

    def declare_classic(self, queue):
        """A durable queue of the type that ours are not."""
        self._call(50, 10, b"\x00\x00" + _short(queue) + b"\x02" + struct.pack(">I", 0))

    def bind(self, queue, exchange, key):
        names = _short(queue) + _short(exchange) + _short(key)
        self._call(50, 20, b"\x00\x00" + names + b"\x00" + struct.pack(">I", 0))

    def unbind(self, queue, exchange, key):
        names = _short(queue) + _short(exchange) + _short(key)
        self._call(50, 50, b"\x00\x00" + names + struct.pack(">I", 0))

    def _call(self, class_id, method_id, arguments):
        """A method whose answer has the next number, as nearly all have."""
        self._send(class_id, method_id, arguments)
        return self._expect(class_id, method_id + 1)

    def _send(self, class_id, method_id, arguments, channel=1):
        self._frame(METHOD, struct.pack(">HH", class_id, method_id) + arguments, channel)

    def _frame(self, kind, payload, channel=1):
        self._socket.sendall(struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce")

    def _expect(self, class_id, method_id):
        while True:
            kind, _, size = struct.unpack(">BHI", self._receive(7))
            payload = self._receive(size)
            self._receive(1)
            if kind != HEARTBEAT:
                break
        if payload[:4] != struct.pack(">HH", class_id, method_id):
            raise ValueError(f"unexpected answer {payload[:4].hex()}: {payload[7:].decode(errors='replace')[:200]}")
        return payload[4:]

    def _receive(self, size):
        data = b""
        while len(data) < size:
            part = self._socket.recv(size - len(data))
            if not part:
                raise ValueError("the broker closed the connection")
            data += part
        return data


def _short(text):
    return bytes([len(text)]) + text.encode()

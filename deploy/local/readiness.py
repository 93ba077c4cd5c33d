"""Asks a part, in its own protocol, whether it serves. None: yes; else why not."""

import http.client
import socket
import struct
import subprocess
import urllib.request

TIMEOUT_SECONDS = 2


def postgres(binaries, port):
    command = [binaries / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port), "-U", "carillon", "-d", "postgres"]
    result = subprocess.run(command, check=False, timeout=10)
    return {0: None, 1: "it is recovering"}.get(result.returncode, "it does not listen")


def redis(port):
    try:
        with socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS) as connection:
            connection.sendall(b"PING\r\n")
            answer = connection.recv(100)
    except OSError as error:
        return str(error)
    return None if answer.startswith(b"+PONG") else answer.decode(errors="replace").strip()


def http_ok(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", path)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return str(error)
    finally:
        connection.close()
    return None if status == 200 else f"HTTP {status}"


def works(port):
    """True if a process says by its metrics that it does its work, not only that it runs."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=TIMEOUT_SECONDS) as page:
            return b"\ncarillon_ready 1" in page.read()
    except (OSError, http.client.HTTPException):
        return False


def tcp(port):
    try:
        socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS).close()
    except OSError as error:
        return str(error)
    return None


def amqp(port, user, password, vhost):
    """Logs in and opens the vhost: the listener may be there before the vhost is."""
    try:
        with socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS) as connection:
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            _expect(connection, 10, 10)  # connection.start
            _send(connection, 10, 11, struct.pack(">I", 0) + _short("PLAIN")  # connection.start-ok
                  + _long(f"\0{user}\0{password}") + _short("en_US"))
            tune = _expect(connection, 10, 30)  # connection.tune
            _send(connection, 10, 31, tune[:8])  # connection.tune-ok
            _send(connection, 10, 40, _short(vhost) + b"\x00\x00")  # connection.open
            _expect(connection, 10, 41)  # connection.open-ok
            _send(connection, 10, 50, struct.pack(">H", 200) + _short("") + struct.pack(">HH", 0, 0))  # close
            _expect(connection, 10, 51)
    except (OSError, ValueError) as error:
        return str(error)
    return None


def _short(text):
    return bytes([len(text)]) + text.encode()


def _long(text):
    return struct.pack(">I", len(text)) + text.encode()


def _send(connection, class_id, method_id, arguments):
    payload = struct.pack(">HH", class_id, method_id) + arguments
    connection.sendall(struct.pack(">BHI", 1, 0, len(payload)) + payload + b"\xce")


def _expect(connection, class_id, method_id):
    """Returns the arguments of the next method, which must be this one."""
    _, _, size = struct.unpack(">BHI", _receive(connection, 7))
    payload = _receive(connection, size)
    _receive(connection, 1)
    if payload[:4] != struct.pack(">HH", class_id, method_id):
        raise ValueError(f"unexpected answer {payload[:4].hex()}: {payload[7:].decode(errors='replace')[:100]}")
    return payload[4:]


def _receive(connection, size):
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise ValueError("the connection was closed")
        data += part
    return data

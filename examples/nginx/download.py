"""N downloads at once; says when all are in flight, and in the end how many came through whole.

    download.py COUNT PORT PATH SIZE SHA256

Run it in the container's network namespace: nsenter --net=/proc/PID/ns/net.
"""

from __future__ import annotations

import hashlib
import select
import socket
import sys


class Download:
    """One connection: what it has received is checked by length and checksum."""

    def __init__(self, port: int, path: str) -> None:
        self.socket = connect(port)
        self.socket.sendall(f"GET {path} HTTP/1.0\r\nHost: demo\r\n\r\n".encode())
        self.head, self.size, self.digest = b"", 0, hashlib.sha256()

    def read(self) -> bool:
        """Take what has come; False at the end, whichever end that is."""
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            return False
        if not data:
            return False
        if b"\r\n\r\n" not in self.head:
            self.head += data
            data = self.head.partition(b"\r\n\r\n")[2]
        self.size += len(data)
        self.digest.update(data)
        return True


def connect(port: int) -> socket.socket:
    """The server may be starting still: wait for its socket, up to 10 seconds."""
    for _ in range(100):
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=60)
        except ConnectionRefusedError:
            select.select([], [], [], 0.1)
    raise SystemExit(f"download: nobody listens on port {port}")


def main() -> None:
    """Print "in flight", then "K of N"."""
    count, port, path, size, checksum = sys.argv[1:]
    downloads = [Download(int(port), path) for _ in range(int(count))]
    pending = {each.socket.fileno(): each for each in downloads}
    poll = select.poll()
    for fd in pending:
        poll.register(fd, select.POLLIN)
    announced = False
    while pending:
        for fd, _ in poll.poll():
            if not pending[fd].read():
                poll.unregister(fd)
                pending.pop(fd).socket.close()
        # a quarter of each has arrived: well begun, and far from done
        if not announced and all(each.size > int(size) // 4 for each in downloads):
            announced = True
            print("in flight", flush=True)
    whole = [d for d in downloads if (d.size, d.digest.hexdigest()) == (int(size), checksum)]
    cut = [d.size for d in downloads if d not in whole]
    print(f"{len(whole)} of {count}", *(f"cut at {part} bytes" for part in cut), sep="\n")


if __name__ == "__main__":
    main()

"""The initramfs of scripts/vm: busybox, a few modules and an init, as an uncompressed cpio archive
(Documentation/driver-api/early-userspace/buffer-format.rst): vm_initramfs.py MODULES INIT FILE
MODULE..."""

from __future__ import annotations

import lzma
import os
import sys
from pathlib import Path

BUSYBOX = Path("/bin/busybox")
DIRECTORY, FILE = 0o040755, 0o100755


def _entry(name: str, mode: int, data: bytes = b"") -> bytes:
    """One record; the kernel needs the inode only for hard links, so that 0 will do."""
    encoded = name.encode() + b"\0"
    numbers = (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
    head = b"070701" + b"".join(b"%08X" % number for number in numbers) + encoded
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)


def _order(modules: Path, names: list[str]) -> list[str]:
    """Files of `names` and of all that they need, each after what it needs (modules.dep(5))."""
    needs: dict[str, list[str]] = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        file, _, rest = line.partition(":")
        needs[file] = rest.split()
    # a module that this kernel has built in is in no file
    builtin = {_name(line) for line in (modules / "modules.builtin").read_text().split()}
    ordered: list[str] = []
    for wanted in names:
        if wanted in builtin:
            continue
        file = next(file for file in needs if _name(file) == wanted)
        # modules.dep lists the nearest need first
        ordered += [need for need in [*reversed(needs[file]), file] if need not in ordered]
    return ordered


def _name(file: str) -> str:
    return os.path.basename(file).partition(".")[0].replace("-", "_")


def main() -> None:
    """Write the archive."""
    modules, init, target = (Path(word) for word in sys.argv[1:4])
    archive = [_entry(name, DIRECTORY) for name in ("bin", "dev", "proc", "modules", "mnt")]
    archive.append(_entry("bin/busybox", FILE, BUSYBOX.read_bytes()))
    archive.append(_entry("init", FILE, init.read_bytes()))
    for number, file in enumerate(_order(modules, sys.argv[4:])):
        data = (modules / file).read_bytes()
        if file.endswith(".xz"):
            data = lzma.decompress(data)
        archive.append(_entry(f"modules/{number:02}-{_name(file)}.ko", FILE, data))
    archive.append(_entry("TRAILER!!!", 0))
    written = target.with_name(target.name + ".new")
    written.write_bytes(b"".join(archive))
    written.replace(target)


if __name__ == "__main__":
    main()

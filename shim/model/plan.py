"""The plan: a container as a list of small frozen kernel operations, and their packed form.

The compiler (engine.compile) makes lists of `Op`; `pack` turns one into the blob that
shim-executor checks and runs; `explain_failure` turns the (step, errno, detail) that comes back
into one line that names the config field. Pure: no system calls. The numbers are csrc/plan.h's,
and a contract test holds the two together.
"""

from __future__ import annotations

import struct

from shim.errors import (
    CannotInvokeError,
    CommandNotFoundError,
    KernelError,
    NotRunningError,
    ShimError,
    strerror,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Sequence

MAGIC, VERSION = 0x4C504853, 1
MAX_BYTES, MAX_OPS, MAX_FDS = 8 << 20, 4096, 240
HEADER = struct.Struct("<6I")
RECORD = struct.Struct("<HHi4Q3I3I")
MSG = struct.Struct("<IIiI4Q")

MSG_ERROR, MSG_SYNC, MSG_GO, MSG_PID, MSG_ROOT, MSG_READY = 1, 2, 3, 4, 5, 6

CODES = {
    "OOM_SCORE_ADJ": 1, "RLIMIT": 2, "JOIN_NS": 3, "UNSHARE": 4, "SYNC": 5, "ROOT_IDS": 6,
    "TIME_OFFSETS": 7, "FORK": 8, "SETSID": 9, "JOIN_PIDFD": 10, "CHECK_ROOT": 11,
    "LOOPBACK_UP": 12, "KEYRING": 13, "PROPAGATION": 20, "ROOT_BIND": 21, "MOUNT_OVERLAY": 22,
    "MOUNT_FS": 23, "MOUNT_BIND": 24, "REMOUNT": 25, "MKNOD": 26, "SYMLINK": 27, "MASK_PATH": 28,
    "READONLY_PATH": 29, "PIVOT_ROOT": 30, "SYSCTL": 31, "HOSTNAME": 32, "DOMAINNAME": 33,
    "ROOT_ATTR": 34, "REPORT_ROOT": 35, "CONSOLE": 36, "BOUNDING": 50, "SETGROUPS": 51,
    "SETIDS": 52, "CAPS": 53, "NO_NEW_PRIVS": 54, "UMASK": 55, "CHDIR": 56, "LOOKUP": 57,
    "WAIT_START": 58, "CLOSE_FDS": 59, "EXEC": 60, "HOME": 61,
}  # fmt: skip

MOUNT_TMPCOPYUP, MOUNT_SYSFS_BIND, MOUNT_RDONLY_SB = 1, 2, 4
PIVOT_MOVE = 1
CHDIR_CREATE, CHDIR_FIRST_TRY = 1, 2
CONSOLE_BIND, CONSOLE_JOINED = 1, 2
BIND_SHARED_PEER = 2
MKNOD_BIND = 1

DETAILS = {
    1: "open destination", 2: "create destination", 3: "fsopen", 4: "option", 5: "fsmount",
    6: "set mount attributes", 7: "attach mount", 8: "set propagation", 9: "copy up",
    10: "clone mount tree", 11: "not a procfs", 12: "is a symlink", 13: "write", 14: "create",
    15: "identity does not match the recorded one",
    16: "working directory is outside the container",
    17: "executable file not found in $PATH", 18: "pseudo-terminal", 19: "send", 20: "fork",
    21: "parent died", 22: "malformed plan", 23: "ambient capabilities",
    24: "setgroups is denied in this user namespace",
}  # fmt: skip

D_FSCONFIG, D_CHECK, D_CWD, D_NOT_FOUND, D_FORK, D_PARENT = 4, 15, 16, 17, 20, 21
ENOENT, EACCES, ENOMEM, ESRCH, EAGAIN = 2, 13, 12, 3, 11


class Op:
    """One operation. `fd` names a descriptor slot that is resolved when the plan is run; `where`
    is the JSON pointer of the config field that asked for it ("" when shim itself did); `text` is
    for people.
    """

    __slots__ = ("fd", "flags", "list", "list2", "name", "num", "nums", "str", "text", "where")

    def __init__(
        self,
        name: str,
        text: str,
        where: str = "",
        *,
        flags: int = 0,
        fd: str | None = None,
        num: Sequence[int] = (),
        str: Sequence[str] = (),
        list: Sequence[str] | None = None,
        list2: Sequence[str] | None = None,
        nums: Sequence[int] | None = None,
    ) -> None:
        self.name, self.text, self.where = name, text, where
        self.flags, self.fd = flags, fd
        self.num, self.str = tuple(num), tuple(str)
        self.list = None if list is None else tuple(list)
        self.list2 = None if list2 is None else tuple(list2)
        self.nums = None if nums is None else tuple(nums)

    def describe(self) -> str:
        """One line for `shim explain` and the golden tests."""
        return f"{self.name.lower():<14} {self.text}" + (f"  [{self.where}]" if self.where else "")


class _Data:
    """The data area while it is built; equal strings are stored once."""

    def __init__(self, start: int) -> None:
        self.start, self.buf = start, bytearray()
        self.known: dict[bytes, int] = {}

    def string(self, text: str) -> int:
        try:
            raw = text.encode("utf-8", "surrogateescape") + b"\0"
        except UnicodeEncodeError:
            raise ShimError(f"not a string of bytes: {text!a}") from None
        if "\0" in text:  # C would silently stop there
            raise ShimError(f"NUL byte in {text!a}")
        if (at := self.known.get(raw)) is None:
            at = self.known[raw] = self.start + len(self.buf)
            self.buf += raw
        return at

    def array(self, values: Sequence[int]) -> int:
        at = self.start + len(self.buf)
        self.buf += struct.pack(f"<I{len(values)}I", len(values), *values)
        return at

    def strings(self, texts: Sequence[str]) -> int:
        return self.array([self.string(text) for text in texts])


def slots(ops: Sequence[Op]) -> list[str]:
    """The descriptor names the plan refers to, in the order in which they must be handed over."""
    names: list[str] = []
    for op in ops:
        if op.fd is not None and op.fd not in names:
            names.append(op.fd)
    return names


def pack(ops: Sequence[Op]) -> bytes:
    """The wire form of a plan. Raises ShimError when it would be larger than the executor takes."""
    names = slots(ops)
    index = {name: i for i, name in enumerate(names)}
    data = _Data(HEADER.size + RECORD.size * len(ops))
    records = bytearray()
    for op in ops:
        num = [n & 0xFFFFFFFFFFFFFFFF for n in op.num] + [0] * (4 - len(op.num))
        text = [data.string(s) for s in op.str] + [0] * (3 - len(op.str))
        records += RECORD.pack(
            CODES[op.name],
            op.flags,
            -1 if op.fd is None else index[op.fd],
            *num,
            *text,
            0 if op.list is None else data.strings(op.list),
            0 if op.list2 is None else data.strings(op.list2),
            0 if op.nums is None else data.array(op.nums),
        )
    data.buf += b"\0"  # every string has a terminator behind it, whatever comes last
    total = data.start + len(data.buf)
    if total > MAX_BYTES or len(ops) > MAX_OPS or len(names) > MAX_FDS:
        raise ShimError(f"plan too large: {total} bytes, {len(ops)} ops, {len(names)} descriptors")
    head = HEADER.pack(MAGIC, VERSION, total, len(ops), HEADER.size, data.start)
    return head + bytes(records) + bytes(data.buf)


def with_command(blob: bytes, argv: Sequence[str], extra_env: Sequence[str] = ()) -> bytes:
    """A packed plan with another argv and more environment; nothing is compiled again.

    This is what makes a hook cheap: the exec plan is packed once at create and only its last
    record, the EXEC op, is patched (ARCHITECTURE.md, "The one idea").
    """
    _, _, total, nops, ops_off, _ = HEADER.unpack_from(blob)
    last = ops_off + (nops - 1) * RECORD.size
    record = list(RECORD.unpack_from(blob, last))
    data = _Data(total)
    record[-3] = data.strings(argv)
    if extra_env:
        added = {entry.partition("=")[0] + "=": entry for entry in extra_env}
        kept = [at for at in _offsets(blob, record[-2]) if not _has_key(blob, at, added)]
        record[-2] = data.array([*kept, *(data.string(entry) for entry in added.values())])
    data.buf += b"\0"
    if total + len(data.buf) > MAX_BYTES:
        raise ShimError("argument list too long")
    out = bytearray(blob) + data.buf
    RECORD.pack_into(out, last, *record)
    struct.pack_into("<I", out, 8, len(out))
    return bytes(out)


def _offsets(blob: bytes, at: int) -> tuple[int, ...]:
    if not at:
        return ()
    (count,) = struct.unpack_from("<I", blob, at)
    return struct.unpack_from(f"<{count}I", blob, at + 4)


def _has_key(blob: bytes, at: int, keys: Container[str]) -> bool:
    end = blob.find(b"=", at)
    return end >= 0 and blob[at : end + 1].decode("utf-8", "surrogateescape") in keys


def failure(ops: Sequence[Op], step: int, errno: int, detail: int) -> ShimError:
    """The exception for what the executor reported; hostile or stale numbers still give a clear
    line."""
    op = ops[step] if step < len(ops) else None
    what, index = detail & 0xFF, detail >> 8
    command = op.list[0] if op is not None and op.list else ""
    if what == D_NOT_FOUND or (op is not None and op.name in ("LOOKUP", "EXEC")):
        return command_failure(_command_of(ops) or command, errno, what)
    joining = op is not None and op.name == "JOIN_PIDFD"
    if (what == D_FORK and errno in (ENOMEM, ESRCH)) or (joining and errno == ESRCH):
        return NotRunningError()  # how the kernel says that the namespaces are gone (EX-18)
    words = DETAILS.get(what, "")
    if what == D_FORK and errno == EAGAIN:
        words += " (pids limit)"  # or RLIMIT_NPROC, which limits the same (fork(2); CG-15)
    options = () if op is None else op.list or ()
    if what == D_FSCONFIG and index <= len(options):
        words = f"option {options[index - 1]!r}" if index else "create"
    label = f"step {step}" if op is None else f"{op.where}: {op.text}" if op.where else op.text
    return KernelError(f"{label}: {words}" if words else label, errno)


def _command_of(ops: Sequence[Op]) -> str:
    last = ops[-1] if ops else None
    return last.list[0] if last is not None and last.list else ""


def command_failure(command: str, errno: int, what: int) -> ShimError:
    """What a failed execve means for the exit status, in the words that engines look for."""
    if what == D_NOT_FOUND and errno == ENOENT:
        return CommandNotFoundError(f'exec: "{command}": executable file not found in $PATH')
    text = f'exec: "{command}": {strerror(errno)}'
    return CommandNotFoundError(text) if errno == ENOENT else CannotInvokeError(text)

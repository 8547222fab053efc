"""The checks of `doctor` that only read: version, privileges, sysctls, LSMs, tools."""

from __future__ import annotations

import os

from shim.bundle.caps import CAPABILITIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OK, WARN, FAIL = "ok", "warn", "fail"
KERNEL_MIN = (5, 14)

_NEEDED = "CAP_SYS_ADMIN"
_SYSCTLS = (
    "user.max_user_namespaces", "kernel.unprivileged_userns_clone", "vm.memfd_noexec",
    "kernel.pid_max",
)  # fmt: skip
_TOOLS = {
    "runc": "the reference of the tests and benchmarks",
    "crun": "the second reference of the benchmarks",
    "nginx": "the demo of scripts/quickstart",
    "skopeo": "fetches images",
    "umoci": "unpacks images",
    "strace": "shows system calls, in the tests too",
}


class Check:
    """One finding. `remedy` is one line, None when there is nothing to do."""

    __slots__ = ("name", "remedy", "status", "value")

    def __init__(self, name: str, status: str, value: str, remedy: str | None = None) -> None:
        self.name, self.status, self.value, self.remedy = name, status, value, remedy

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("name", "status", "value", "remedy")}


def verdict(name: str, good: bool, yes: str, no: str, without: str, remedy: str) -> Check:
    """A check that is either ok or `without`."""
    return Check(name, OK, yes) if good else Check(name, without, no, remedy)


def read(path: str) -> str | None:
    """The text of a file of the kernel, None when it is not there or not for us."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return None


def version(release: str) -> tuple[int, int]:
    """(6, 1) for "6.1.0-18-amd64"."""
    parts = release.replace("-", ".").split(".")
    numbers = [int(part) if part.isdigit() else 0 for part in parts[:2]]
    return (numbers[0], numbers[1]) if len(numbers) == 2 else (numbers[0], 0)


def kernel_version() -> Check:
    release = os.uname().release
    words = ".".join(str(number) for number in KERNEL_MIN)
    return verdict(
        "kernel", version(release) >= KERNEL_MIN, release, f"{release} is older than {words}", FAIL,
        f"boot Linux {words} or later",
    )  # fmt: skip


def root() -> Check:
    uid = os.geteuid()
    remedy = "run it as root: rootless containers are not supported yet"
    return verdict("root", uid == 0, "yes", f"no: user id {uid}", FAIL, remedy)


def capabilities(status: str = "/proc/self/status") -> Check:
    """What is missing in the effective set; a container cannot be given what shim does not have."""
    fields = (line.partition(":") for line in (read(status) or "").splitlines())
    mask = next((int(text, 16) for name, _, text in fields if name == "CapEff"), 0)
    missing = [name for name, bit in CAPABILITIES.items() if not mask >> bit & 1]
    if not missing:
        return Check("capabilities", OK, "all")
    fail = _NEEDED in missing
    value = "none" if len(missing) == len(CAPABILITIES) else f"without {' '.join(missing)}"
    remedy = "run it as root with full capabilities: containers cannot have what shim lacks"
    if missing == ["CAP_SYS_RESOURCE"]:
        remedy = "grant CAP_SYS_RESOURCE: without it no rlimit rises above the caller's hard limit"
    return Check("capabilities", FAIL if fail else WARN, value, remedy)


def lsms(path: str = "/sys/kernel/security/lsm") -> Check:
    found = read(path)
    return verdict(
        "LSMs", found is not None, (found or "").replace(",", " "), "unknown: no securityfs", WARN,
        "mount -t securityfs none /sys/kernel/security",
    )  # fmt: skip


def sysctls(base: str = "/proc/sys") -> list[Check]:
    return [_sysctl(name, read(f"{base}/{name.replace('.', '/')}")) for name in _SYSCTLS]


def _sysctl(name: str, value: str | None) -> Check:
    if value is None:
        return Check(name, OK, "not in this kernel")
    if name == "user.max_user_namespaces" and value == "0":
        remedy = f"sysctl -w {name}=15000: containers with a user namespace cannot be made"
        return Check(name, WARN, value, remedy)
    if name == "vm.memfd_noexec" and value == "2":
        remedy = f"sysctl -w {name}=1: until then the executor is copied to /dev/shm"
        return Check(name, WARN, value, remedy)
    return Check(name, OK, value)


def tools() -> list[Check]:
    """Programs that shim itself does not need, but that its tests, benchmarks and demo use."""
    from shutil import which

    found = []
    for name, use in _TOOLS.items():
        path = which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        remedy = f"apt-get install {name} ({use})"
        found.append(verdict(name, path is not None, path or "", "not installed", WARN, remedy))
    return found

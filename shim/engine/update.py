"""`update`: new limits for a container that lives (runtime-spec config-linux.md "Control groups").

All or nothing: when the kernel refuses one limit those written before it are put back. A file that
holds two numbers keeps the one that was not asked for, as in runc's update.go: quota and period of
cpu.max, and memory + swap together, which OCI gives as one sum.
"""

from __future__ import annotations

from contextlib import suppress

from shim.engine.cgroup_setup import attach_devices, checked_settings, write
from shim.engine.kill import open_cgroup
from shim.engine.resources import BASE, DEFAULT_PERIOD, Setting
from shim.errors import InputError, KernelError, ShimError
from shim.kernel.api import KERNEL
from shim.kernel.cgroup import find_mount
from shim.model import status
from shim.model.container import Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.bundle.spec import Cpu, Memory, Resources
    from shim.kernel.api import Kernel
    from shim.kernel.cgroup import Cgroup, CgroupMount
    from shim.model.store import Store


def update(store: Store, id: str, resources: Resources, file: str) -> None:
    """The verb. NotRunningError for a container that has stopped, InputError naming `file`."""
    directory = store.container(id)
    # two updates at once would each keep half of what the other one wrote
    with directory.lock():
        container = Container(directory)
        status.check("update", container.status())
        with open_cgroup(container) as cgroup:
            change(cgroup, resources, find_mount(), KERNEL, file)


def change(
    cgroup: Cgroup, resources: Resources, mount: CgroupMount, kernel: Kernel, file: str
) -> None:
    """Apply `resources` to a cgroup that is in use; on an error nothing has changed."""
    if resources.cpu is not None:
        _complete_cpu(cgroup, resources.cpu)
    if resources.memory is not None:
        _complete_memory(cgroup, resources.memory, file)
    wanted = checked_settings(cgroup, resources, mount, file)
    _lower_burst_first(cgroup, wanted)
    before = [_before(cgroup, setting) for setting in wanted]
    done: list[list[tuple[str, str]]] = []
    try:
        for setting, back in zip(wanted, before, strict=True):
            write(cgroup, setting)
            done.append(back)
        if resources.devices:
            replace_devices(cgroup, resources, kernel)
    except BaseException:
        for name, text in (entry for back in reversed(done) for entry in back):
            with suppress(ShimError):  # the first error is the one to tell
                cgroup.write(name, text)
        raise


def replace_devices(cgroup: Cgroup, resources: Resources, kernel: Kernel) -> None:
    """New device rules. The programs of a cgroup add up to what all of them allow, so attaching
    first and detaching after leaves no moment in which more is allowed than by old or new."""
    old = kernel.bpf_device_query(cgroup.fd)
    attach_devices(cgroup, resources, kernel)
    for program in old:
        try:
            kernel.bpf_device_detach(cgroup.fd, program)
        except OSError as error:
            step = f"{BASE}/devices: detach the old program from cgroup {cgroup.path}"
            raise KernelError(step, error.errno or 0) from None


def _complete_cpu(cgroup: Cgroup, cpu: Cpu) -> None:
    """A quota alone keeps the period and the other way round."""
    if bool(cpu.quota) == bool(cpu.period) or not cgroup.has("cpu.max"):
        return
    quota, _, period = cgroup.read("cpu.max").strip().partition(" ")
    if not cpu.quota:
        cpu.quota = -1 if quota == "max" else int(quota)
    if not cpu.period:
        cpu.period = int(period or DEFAULT_PERIOD)


def _complete_memory(cgroup: Cgroup, memory: Memory, file: str) -> None:
    """A memory limit alone keeps the sum of memory and swap; a sum alone keeps the limit."""
    now = _number(cgroup, "memory.max")
    if memory.swap is not None:
        if memory.swap > 0 and memory.limit is None:
            memory.limit = now  # still none when it is unlimited: then the sum means nothing
        return
    swap = _number(cgroup, "memory.swap.max")
    if memory.limit is None or memory.limit < 0 or now is None or swap is None:
        return
    if memory.limit > now + swap:
        cause = (
            f"{memory.limit} is above the {now + swap} bytes that memory and swap may have"
            " together: set memory.swap (--memory-swap) as well"
        )
        raise InputError(file, f"{BASE}/memory/limit", cause)
    memory.swap = now + swap


def _number(cgroup: Cgroup, name: str) -> int | None:
    """A limit in force; None for "max", and where there is no such file."""
    if not cgroup.has(name):
        return None
    text = cgroup.read(name).strip()
    return None if text == "max" else int(text)


def _lower_burst_first(cgroup: Cgroup, wanted: list[Setting]) -> None:
    """The kernel refuses a quota below the burst as it refuses a burst above the quota (EINVAL,
    sched-bwc.rst), so a burst is lowered before cpu.max changes and raised after it."""
    for index, setting in enumerate(wanted):
        if setting.file == "cpu.max.burst":
            now = _number(cgroup, setting.file)
            if now is not None and int(setting.value) < now:
                wanted.insert(0, wanted.pop(index))
            return


def _before(cgroup: Cgroup, setting: Setting) -> list[tuple[str, str]]:
    """The writes that take `setting` back; [] for a file that is not there or cannot be read."""
    device, space, _ = setting.value.partition(" ")
    for name in [setting.file, *([setting.other[0]] if setting.other else [])]:
        try:
            text = cgroup.read(name)
        except KernelError:
            continue
        if space and ":" in device:
            return [(name, _device_line(text, name, device))]
        if text.startswith("default "):  # a weight; the devices that have their own follow
            text = text.partition("\n")[0]
        if not text.strip():
            return _emptied(cgroup, name)
        return [(name, text.strip())] if "\n" not in text.strip() else []
    return []


def _emptied(cgroup: Cgroup, name: str) -> list[tuple[str, str]]:
    """Back to an empty cpuset, which is the parent's. The kernel refuses that while processes are
    in it (ENOSPC), so what was in force is written first. A bare newline is what empties it."""
    found = [(name, "\n")]
    if cgroup.has(f"{name}.effective"):
        found.insert(0, (name, cgroup.read(f"{name}.effective").strip()))
    return found


def _device_line(text: str, name: str, device: str) -> str:
    """The line of `device` in an io file, or the one that means that it has none."""
    for line in text.splitlines():
        if line.partition(" ")[0] == device:
            return line
    none = "rbps=max wbps=max riops=max wiops=max" if name == "io.max" else "default"
    return f"{device} {none}"

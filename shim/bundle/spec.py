"""config.json to a Spec.

The field names are those of runtime-spec 1.3 config.md and config-linux.md. Unknown properties are
ignored, as the specification demands; every known one is honoured or refused (SECURITY.md section
5).
"""

from __future__ import annotations

from shim.bundle import rules
from shim.bundle.classes import (
    RLIM_INFINITY,
    BlockIO,
    Caps,
    Cpu,
    Device,
    DeviceRule,
    IDMap,
    Linux,
    Memory,
    Mount,
    Namespace,
    Process,
    Resources,
    Rlimit,
    Root,
    Spec,
)
from shim.bundle.fields import Object, Value
from shim.bundle.json_strict import loads
from shim.bundle.linux import read_linux
from shim.bundle.mounts import UnsupportedOptionError, parse_options
from shim.bundle.process import read_process
from shim.bundle.resources import read_resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.bundle.mounts import MountOptions

__all__ = [
    "RLIM_INFINITY", "BlockIO", "Caps", "Cpu", "Device", "DeviceRule", "IDMap", "Linux", "Memory",
    "Mount", "Namespace", "Process", "Resources", "Rlimit", "Root", "Spec", "parse",
    "parse_process", "parse_resources",
]  # fmt: skip

HOOK_KINDS = (
    "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop",
)  # fmt: skip

_SPEC = frozenset(
    (
        "ociVersion", "process", "root", "hostname", "domainname", "mounts", "hooks", "annotations",
        "linux", "vm",
    )
)  # fmt: skip
_ROOT = frozenset(("path", "readonly"))
_MOUNT = frozenset(("destination", "type", "source", "options", "uidMappings", "gidMappings"))
_UTS_MAX = 64  # __NEW_UTS_LEN, linux/utsname.h


def parse(data: bytes, file: str = "config.json") -> Spec:
    """The Spec in `data`.

    InputError names `file` and the field's JSON pointer; UnsupportedError is raised for a valid
    field that has an effect on Linux which this version does not give.
    """
    fields = Value(loads(data, file), "", file).record(_SPEC)
    version = _version(fields.need("ociVersion"))
    _hooks(fields)
    fields.refuse("vm")
    process, linux = fields.get("process"), fields.get("linux")
    spec = Spec(
        oci_version=version,
        process=None if process is None else read_process(process),
        root=_root(fields.need("root")),
        hostname=_uts_name(fields, "hostname"),
        domainname=_uts_name(fields, "domainname"),
        mounts=fields.each("mounts", _mount),
        annotations=_annotations(fields),
        linux=Linux() if linux is None else read_linux(linux),
    )
    rules.check(spec, file)
    return spec


def parse_process(data: bytes, file: str) -> Process:
    """The process of `exec --process FILE`."""
    process = read_process(Value(loads(data, file), "", file))
    rules.check_process(process, file, "")
    return process


def parse_resources(data: bytes, file: str) -> Resources:
    """The limits of `update --resources FILE`."""
    return read_resources(Value(loads(data, file), "", file))


def _version(value: Value) -> str:
    """SemVer with major version 1 (SECURITY.md IN-18)."""
    text = value.text()
    core = text.partition("+")[0].partition("-")[0].split(".")
    if len(core) != 3 or not all(part.isascii() and part.isdigit() for part in core):
        value.fail(f"must be a version such as 1.3.0, not {text[:64]!r}")
    if core[0] != "1":
        value.fail(f"version {text[:64]!r} is not supported, only 1.x.y is")
    return text


def _hooks(fields: Object) -> None:
    value = fields.get("hooks")
    if value is None:
        return
    for name, item in value.members().items():
        if name not in HOOK_KINDS:
            # runc and crun ignore it in silence: the hook would just never run (SECURITY.md IN-21).
            item.fail(
                "unknown hook kind; preStop and postStart belong into the lifecycle block "
                "(--lifecycle FILE, lifecycle.json or the annotation io.hookshim.lifecycle)"
            )
        if item.value is not None and item.items():
            item.unsupported("OCI hooks are not supported by this version")


def _root(value: Value) -> Root:
    fields = value.record(_ROOT)
    path = fields.need("path")
    text = path.text()
    if not text:
        path.fail("must not be empty")
    return Root(text, fields.boolean("readonly"))


def _uts_name(fields: Object, name: str) -> str | None:
    value = fields.get(name)
    if value is None:
        return None
    text = value.text()
    if len(text.encode()) > _UTS_MAX:
        value.fail(f"must be at most {_UTS_MAX} bytes")
    return text or None


def _annotations(fields: Object) -> dict[str, str]:
    value = fields.get("annotations")
    found: dict[str, str] = {}
    for key, item in ({} if value is None else value.members()).items():
        if not key:
            item.fail("annotation with an empty key")
        found[key] = item.text()
    return found


def _option(item: Value) -> str:
    try:
        parse_options([item.text()])
    except UnsupportedOptionError as error:
        item.unsupported(str(error))
    except ValueError as error:
        item.fail(str(error))
    return item.text()


def _no_loss(value: Value | None, parsed: MountOptions) -> None:
    """A remount changes attributes of one mount; what it cannot change is not ignored."""
    lost = [*parsed.data, *(name for name in parsed.sb_flags if name != "ro")]
    if value is not None and (lost or parsed.rec_set or parsed.rec_clr):
        what = f"option {lost[0][:64]!r}" if lost else "a recursive option"
        value.unsupported(f"{what} is not supported with remount")


def _mount(item: Value) -> Mount:
    fields = item.record(_MOUNT)
    fields.refuse("uidMappings", "gidMappings")
    options = fields.each("options", _option)
    try:
        parsed = parse_options(options)
    except UnsupportedOptionError as error:
        fields.need("options").unsupported(str(error))
    kind = "bind" if parsed.bind else fields.text("type")
    if not kind and not parsed.remount and not parsed.propagation:
        item.fail("type is required unless the options say bind")
    source = fields.text("source")
    if parsed.remount:
        _no_loss(fields.get("options"), parsed)
    if kind == "bind":
        if not source and not parsed.remount:
            item.fail("a bind mount needs a source")
        if parsed.data:
            # The kernel ignores data on MS_BIND: the option would be lost in silence.
            item.fail(f"option {parsed.data[0][:64]!r} has no meaning for a bind mount")
    return Mount(fields.need("destination").path(), kind, source, options)

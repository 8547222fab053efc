"""What `create`, `start` and a stop would do with a bundle, in words and in order. Pure: nothing is
opened, resolved or written, so what only the machine knows (is there a controller, does the rootfs
have that directory) is not said."""

from __future__ import annotations

import json
import os

from shim.bundle.lifecycle import STOP_SIGNAL_ANNOTATION, Lifecycle
from shim.bundle.signals import signal_name
from shim.engine import compile, devices, layout
from shim.engine.cgroup_setup import location
from shim.engine.resources import BASE, settings
from shim.model import plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.bundle.lifecycle import Handler
    from shim.bundle.load import Bundle
    from shim.bundle.spec import DeviceRule, Spec
    from shim.engine.resources import Setting

ID = "ID"
"""Stands for the container's id, which explain is not given."""


def explain(bundle: Bundle) -> list[str]:
    """One line a step. Numbered ones are the plan's, run by shim-executor; "host" ones are done by
    the verb before it, or while it waits at a sync point. InputError as from create."""
    ops = compile.create_plan(
        bundle.spec, compile.Options(keyring=f"_ses.{ID}", rootfs=bundle.rootfs)
    )
    lines = [f"bundle {bundle.dir}", "", "create"]
    lines += [_host("state", f"make the directory {ID} below --root")]
    lines += _cgroup_lines(bundle.spec)
    if layout.wanted(bundle.lifecycle):
        lines.append(_host("cgroup", "below it main for the process, hook-N for each hook"))
    lines += [_open_line(name, bundle) for name in plan.slots(ops)]
    for number, op in enumerate(ops):
        if op.name == "EXEC":
            lines += ["", "start"]
        lines.append(f"{number:>4}  {op.describe()}")
        if op.name == "SYNC":
            lines += _id_map_lines(bundle.spec)
    return [*lines, "", *_lifecycle_lines(bundle)]


def _host(name: str, text: str, where: str = "") -> str:
    return f"host  {name:<14} {text}" + (f"  [{where}]" if where else "")


def _cgroup_lines(spec: Spec) -> list[str]:
    linux = spec.linux
    where = "/linux/cgroupsPath" if linux.cgroups_path else ""
    path = location(linux.cgroups_path, ID)
    lines = [_host("cgroup", f"make {path} below the cgroup2 mount", where)]
    own: list[DeviceRule] = []
    if linux.resources is not None:
        lines += [_limit_line(setting) for setting in settings(linux.resources)]
        own = linux.resources.devices
    for i, rule in enumerate(own):
        lines.append(_host("device rule", _rule(rule), f"{BASE}/devices/{i}"))
    always = ", ".join(_rule(rule) for rule in devices.DEFAULT_RULES)
    return [*lines, _host("device rule", f"as for every container: {always}")]


def _limit_line(setting: Setting) -> str:
    text = f"{setting.file} = {setting.value.strip()}"
    if setting.other is not None:
        text += f", or {' = '.join(setting.other)}"
    if setting.optional:
        text += ", if there"
    if setting.controller:
        text += f" (controller {setting.controller})"
    return _host("limit", text, setting.pointer)


def _rule(rule: DeviceRule | devices.Rule) -> str:
    numbers = ("*" if n is None else str(n) for n in (rule.major, rule.minor))
    kind = "all" if rule.type == "a" else rule.type
    return f"{'allow' if rule.allow else 'deny'} {kind} {':'.join(numbers)} {rule.access}"


def _open_line(name: str, bundle: Bundle) -> str:
    """What a slot of the plan is opened from (engine.slots)."""
    kind, _, rest = name.partition(":")
    if kind == "rootfs":
        return _host("open", f"the rootfs {bundle.rootfs}", "/root/path")
    if kind == "bind":
        source = os.path.join(bundle.dir, bundle.spec.mounts[int(rest)].source)
        return _host("open", f"the bind source {source}", f"/mounts/{rest}/source")
    if kind == "ns":
        index, path = next(
            (i, n.path) for i, n in enumerate(bundle.spec.linux.namespaces) if n.type == rest
        )
        return _host("open", f"the {rest} namespace {path}", f"/linux/namespaces/{index}/path")
    texts = {
        "dev": f"the host's {rest}",
        "cgroup-tree": "the container's cgroup directory",
        "console": "a connection to --console-socket",
        "start": "the socket on which start is waited for",
    }
    return _host("open", texts[kind])


def _id_map_lines(spec: Spec) -> list[str]:
    lines = []
    for name, field, maps in (
        ("uid_map", "uidMappings", spec.linux.uid_mappings),
        ("gid_map", "gidMappings", spec.linux.gid_mappings),
    ):
        text = ", ".join(f"{m.container_id} -> {m.host_id} ({m.size} ids)" for m in maps)
        lines.append(_host(name, text, f"/linux/{field}"))
    return lines


def _lifecycle_lines(bundle: Bundle) -> list[str]:
    life = bundle.lifecycle or Lifecycle.default(bundle.spec)
    lines = []
    if life.post_start is not None:
        lines += [
            "after start, beside the process",
            _at("at once", f"postStart: {_handler(life.post_start)}"),
            _at("it fails", "stop, as below"),
            "",
        ]
    lines += ["stop", _at("hooks", _hooks_from(bundle, life)), *_given(bundle, life)]
    return lines + _timeline(life)


def _at(when: str, text: str) -> str:
    return f"  {when:<18} {text}"


def _hooks_from(bundle: Bundle, life: Lifecycle) -> str:
    named = [
        name
        for name, hook in (("postStart", life.post_start), ("preStop", life.pre_stop))
        if hook is not None
    ]
    source = f" (from {life.source})" if bundle.lifecycle is not None else ""
    return (" and ".join(named) or "none") + source


def _given(bundle: Bundle, life: Lifecycle) -> list[str]:
    """Stop signal and grace period, each with its origin. A lifecycle that does not name one takes
    the image's annotation or the default, so it is named first and the fall-back after it."""
    noted = STOP_SIGNAL_ANNOTATION in bundle.spec.annotations
    fallback = f"annotation {STOP_SIGNAL_ANNOTATION}" if noted else "default"
    origin = "" if bundle.lifecycle is None else f"{life.source}, else "
    return [
        _at("stop signal", f"{signal_name(life.stop_signal)} (from {origin}{fallback})"),
        _at("grace period", f"{_seconds(life.grace)} (from {origin}default)"),
    ]


def _timeline(life: Lifecycle) -> list[str]:
    grace, signal = life.grace, signal_name(life.stop_signal)
    if grace == 0:
        return [_at("t", "SIGKILL at once: there is no grace period")]
    lines = [_at("t", f"the grace period begins; SIGKILL is due at t+{_seconds(grace)}")]
    hook = life.pre_stop
    if hook is None:
        lines.append(_at("t", f"{signal}; the process has {_seconds(grace)} to end"))
    else:
        lines.append(_at("t", f"preStop: {_handler(hook)}"))
        limit = grace if hook.timeout is None else min(grace, hook.timeout)
        if hook.kind == "sleep" and hook.seconds < limit:
            lines += _signal_at(hook.seconds, grace, signal, "preStop is over")
        else:
            lines.append(_at("preStop ends", f"{signal}; the process has what is left"))
            lines += _signal_at(limit, grace, signal, "preStop is cut off if it still runs")
    return [*lines, _at(f"t+{_seconds(grace)}", "SIGKILL to every process of the container")]


def _signal_at(when: float, grace: float, signal: str, why: str) -> list[str]:
    """The stop signal at t+`when`; at the deadline itself SIGKILL follows at once."""
    left = grace - when
    rest = f"the process has {_seconds(left)} left" if left > 0 else "and no time left"
    return [_at(f"t+{_seconds(when)}", f"{why}: {signal}, {rest}")]


def _handler(hook: Handler) -> str:
    text = f"sleep {_seconds(hook.seconds)}"
    if hook.kind == "exec":
        text = "exec " + json.dumps(hook.command, ensure_ascii=False)
    if hook.timeout is not None:
        text += f", cut off after {_seconds(hook.timeout)}"
    limits = [] if hook.resources is None else layout.settings(hook.resources)
    return text + "".join(f", {file} = {value}" for file, value, _ in limits)


def _seconds(number: float) -> str:
    return f"{number:g} s" if number < 1e6 else f"{number:.0f} s"

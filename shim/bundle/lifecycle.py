"""The lifecycle of a container: hooks, stop signal, grace period (CONTRACT.md "Where lifecycle
comes from"), read as strictly as the Kubernetes API validates it (KUBERNETES.md rules 24 to 28).
"""

from __future__ import annotations

from shim.bundle.fields import Value
from shim.bundle.limits import read_limits
from shim.bundle.signals import parse_signal, signal_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.bundle.classes import Spec
    from shim.bundle.limits import Limits

DEFAULT_GRACE = 30
GRACE_MAX = 2**31 - 1
"""Seconds. 68 years: far from the overflow that turns 1e18 into "at once" (SECURITY.md SP-04)."""

NOT_FROM_ANNOTATIONS = "not taken from an annotation: use --lifecycle or lifecycle.json"
"""An image may have written them (SECURITY.md CV-29)."""
STOP_SIGNAL_ANNOTATION = "org.opencontainers.image.stopSignal"

_DOCUMENT = frozenset(
    (
        "lifecycle",
        "terminationGracePeriodSeconds",
        "restartPolicy",
        "profile",
        "livenessProbe",
        "readinessProbe",
        "startupProbe",
        "evict",
    )
)
_LIFECYCLE = frozenset(("postStart", "preStop", "stopSignal", "preStart", "postStop"))
_KINDS = ("exec", "httpGet", "tcpSocket", "sleep")
_HANDLER = frozenset((*_KINDS, "timeoutSeconds", "retries", "resources"))
_EXEC = frozenset(("command",))
_SLEEP = frozenset(("seconds",))
_SAVED = frozenset(
    (
        "postStart",
        "preStop",
        "stopSignal",
        "terminationGracePeriodSeconds",
        "profile",
        "restartPolicy",
        "source",
    )
)


class Handler:
    """One hook. `kind` exec runs `command` in the container, sleep waits `seconds`.

    `timeout` in seconds, None: only the grace period bounds it; `resources` None: only what bounds
    the container.
    """

    __slots__ = ("command", "kind", "resources", "retries", "seconds", "timeout")

    def __init__(
        self,
        kind: str,
        command: list[str] | None = None,
        seconds: float = 0,
        timeout: float | None = None,
        retries: int = 0,
        resources: Limits | None = None,
    ) -> None:
        self.kind, self.command, self.seconds = kind, command or [], seconds
        self.timeout, self.retries, self.resources = timeout, retries, resources

    def to_json(self) -> dict[str, object]:
        """The handler as the Kubernetes API writes it, with shim's own fields beside it."""
        if self.kind == "exec":
            document: dict[str, object] = {"exec": {"command": list(self.command)}}
        else:
            document = {"sleep": {"seconds": _plain(self.seconds)}}
        if self.timeout is not None:
            document["timeoutSeconds"] = _plain(self.timeout)
        if self.retries:
            document["retries"] = self.retries
        if self.resources is not None:
            document["resources"] = self.resources.to_json()
        return document

    @staticmethod
    def from_json(document: object, file: str = "state.json", pointer: str = "") -> Handler:
        """The inverse of to_json; InputError for anything that is not a valid handler."""
        return read_handler(Value(document, pointer, file))


class Lifecycle:
    """`grace` in seconds; `source` says where it was found: a file's path, "annotations",
    "lifecycle.json" or "default"."""

    __slots__ = (
        "grace",
        "post_start",
        "pre_stop",
        "profile",
        "restart_policy",
        "source",
        "stop_signal",
    )

    def __init__(
        self,
        post_start: Handler | None = None,
        pre_stop: Handler | None = None,
        stop_signal: int = 15,
        grace: float = DEFAULT_GRACE,
        profile: str = "contract",
        restart_policy: str = "Never",
        source: str = "default",
    ) -> None:
        self.post_start, self.pre_stop = post_start, pre_stop
        self.stop_signal, self.grace = stop_signal, grace
        self.profile, self.restart_policy, self.source = profile, restart_policy, source

    @staticmethod
    def default(spec: Spec | None = None) -> Lifecycle:
        """What `run` and `stop` use when a container has none: no hooks, 30 s, the image's stop
        signal or SIGTERM."""
        return Lifecycle(stop_signal=image_stop_signal(spec))

    def to_json(self) -> dict[str, object]:
        """For state.json; from_json reads it back."""
        return {
            "postStart": None if self.post_start is None else self.post_start.to_json(),
            "preStop": None if self.pre_stop is None else self.pre_stop.to_json(),
            "stopSignal": signal_name(self.stop_signal),
            "terminationGracePeriodSeconds": _plain(self.grace),
            "profile": self.profile,
            "restartPolicy": self.restart_policy,
            "source": self.source,
        }

    @staticmethod
    def from_json(document: object, file: str = "state.json", pointer: str = "") -> Lifecycle:
        """The inverse of to_json; InputError for anything that is not a valid lifecycle."""
        fields = Value(document, pointer, file).record(_SAVED, strict=True)
        post_start, pre_stop = fields.get("postStart"), fields.get("preStop")
        return Lifecycle(
            post_start=None if post_start is None else read_handler(post_start),
            pre_stop=None if pre_stop is None else read_handler(pre_stop),
            stop_signal=_stop_signal(fields.need("stopSignal")),
            grace=fields.need("terminationGracePeriodSeconds").integer(0, GRACE_MAX),
            profile=read_profile(fields.need("profile")),
            restart_policy=_restart_policy(fields.need("restartPolicy")),
            source=fields.text("source"),
        )


def image_stop_signal(spec: Spec | None) -> int:
    """The signal of the annotation org.opencontainers.image.stopSignal, SIGTERM without one."""
    text = "" if spec is None else spec.annotations.get(STOP_SIGNAL_ANNOTATION, "")
    if not text:
        return 15
    return _stop_signal(Value(text, f"/annotations/{STOP_SIGNAL_ANNOTATION}", "config.json"))


def read_document(value: Value, spec: Spec | None, source: str) -> Lifecycle:
    """A whole lifecycle document (--lifecycle FILE or lifecycle.json); unknown fields are
    refused."""
    fields = value.record(_DOCUMENT, strict=True)
    fields.refuse("livenessProbe", "readinessProbe", "startupProbe", "evict")
    grace = fields.get("terminationGracePeriodSeconds")
    policy, profile = fields.get("restartPolicy"), fields.get("profile")
    block = fields.get("lifecycle")
    result = Lifecycle(
        stop_signal=image_stop_signal(spec),
        grace=DEFAULT_GRACE if grace is None else grace.integer(0, GRACE_MAX),
        profile="contract" if profile is None else read_profile(profile),
        restart_policy="Never" if policy is None else _restart_policy(policy),
        source=source,
    )
    if block is not None:
        read_block(block, result)
    return result


def read_block(value: Value, result: Lifecycle, limits: bool = True) -> None:
    """The `lifecycle` object into `result`, whose grace bounds every sleep (KUBERNETES.md rule
    25); `limits`: whether the source may set any."""
    fields = value.record(_LIFECYCLE, strict=True)
    for name in ("preStart", "postStop"):
        if (found := fields.get(name)) is not None:
            found.unsupported()
    post_start, pre_stop = fields.get("postStart"), fields.get("preStop")
    if post_start is not None:
        result.post_start = read_handler(post_start, result.grace, limits)
    if pre_stop is not None:
        result.pre_stop = read_handler(pre_stop, result.grace, limits)
    if (signal := fields.get("stopSignal")) is not None:
        result.stop_signal = _stop_signal(signal)


def read_handler(value: Value, grace: float = GRACE_MAX, limits: bool = True) -> Handler:
    """Exactly one handler; `grace` in seconds is the most a sleep may ask for."""
    fields = value.record(_HANDLER, strict=True)
    found = [name for name in _KINDS if fields.get(name) is not None]
    if not found:
        value.fail("must specify a handler type: exec, httpGet, tcpSocket or sleep")
    if len(found) > 1:
        value.fail(f"may not specify more than 1 handler type, not {' and '.join(found)}")
    kind = fields.need(found[0])
    timeout = fields.get("timeoutSeconds")
    seconds = None if timeout is None else _positive(timeout)
    if fields.integer("retries", 0, 2**31 - 1):
        fields.need("retries").unsupported()
    resources = fields.get("resources")
    if resources is not None and not limits:
        resources.fail(NOT_FROM_ANNOTATIONS)
    if resources is not None and found[0] != "exec":
        resources.fail(f"only an exec handler uses any, not {found[0]}")
    bounds = None if resources is None else read_limits(resources)
    if found[0] == "exec":
        return Handler("exec", command=_command(kind), timeout=seconds, resources=bounds)
    if found[0] == "sleep":
        return Handler("sleep", seconds=_sleep(kind, grace), timeout=seconds)
    kind.unsupported()


def _command(value: Value) -> list[str]:
    command = value.record(_EXEC, strict=True).need("command")
    words = [item.text() for item in command.items()]
    if not words:
        command.fail("must not be empty")
    if not words[0]:
        command.items()[0].fail("must not be empty")
    return words


def _sleep(value: Value, grace: float) -> int:
    seconds = value.record(_SLEEP, strict=True).need("seconds")
    number = seconds.integer(0, GRACE_MAX)
    if number > grace:
        limit = f"terminationGracePeriodSeconds ({_plain(grace)})"
        seconds.fail(f"must be non-negative and at most {limit}, not {number}")
    return number


def _positive(value: Value) -> float:
    """Seconds, whole or not, above 0; NaN compares false and is refused with the rest."""
    number = value.value
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        value.fail("must be a number of seconds")
    if not 0 < number <= GRACE_MAX:
        value.fail(f"must be above 0 and at most {GRACE_MAX} seconds")
    return float(number)


def _stop_signal(value: Value) -> int:
    try:
        number = parse_signal(value.text())
    except ValueError as error:
        value.fail(str(error))
    if number == 0:
        value.fail("signal 0 stops nothing")
    return number


def read_profile(value: Value) -> str:
    """The behaviour asked for; only CONTRACT.md's own is there yet."""
    if value.choice(("contract", "kubelet")) == "kubelet":
        value.unsupported("profile kubelet is not supported by this version")
    return "contract"


def _restart_policy(value: Value) -> str:
    policy = value.choice(("Never", "OnFailure", "Always"))
    if policy != "Never":
        value.unsupported(f"restartPolicy {policy} is not supported by this version")
    return policy


def _plain(seconds: float) -> float | int:
    return int(seconds) if seconds == int(seconds) else seconds

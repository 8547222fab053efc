"""The one table of verbs and flags (CONTRACT.md "Command line", OCI.md 2.1). Data only."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Flag:
    """One flag. `kind` is bool, str, int, seconds or list, or "maybe": a bool that is None when not
    given.

    `value` names its value in the help; a `refused` flag is known, and an error when it is given.
    """

    __slots__ = ("choices", "default", "dest", "help", "kind", "name", "refused", "short", "value")

    def __init__(
        self,
        name: str,
        short: str,
        kind: str,
        value: str,
        help: str,
        default: Any = None,
        choices: tuple[str, ...] = (),
        refused: bool = False,
    ) -> None:
        self.name, self.short, self.kind, self.value, self.help = name, short, kind, value, help
        self.default = False if kind == "bool" and default is None else default
        self.choices, self.refused = choices, refused
        self.dest = name.replace("-", "_")


class Verb:
    """One verb.

    `operands` are usage patterns; `foreign` > 0 means that everything after that many operands is
    another program's command line. `answer` marks a verb that only says why it does nothing; it is
    not in the help.
    """

    __slots__ = ("answer", "flags", "foreign", "module", "name", "operands", "summary")

    def __init__(
        self,
        name: str,
        summary: str,
        operands: tuple[str, ...] = (),
        flags: tuple[Flag, ...] = (),
        foreign: int = 0,
        answer: str = "",
    ) -> None:
        self.name, self.summary, self.operands, self.flags = name, summary, operands, flags
        self.foreign, self.answer = foreign, answer
        self.module = f"shim.cli.verbs.{name}"


def _bool(name: str, short: str, help: str, **more: Any) -> Flag:
    return Flag(name, short, "bool", "", help, **more)


def _str(name: str, short: str, value: str, help: str, **more: Any) -> Flag:
    return Flag(name, short, "str", value, help, **more)


GLOBALS: tuple[Flag, ...] = (
    _str("root", "", "DIR", "directory of the containers' state"),
    _str("log", "", "PATH", "append the error of a failed verb to this file"),
    _str("log-format", "", "FORMAT", "text or json", default="text", choices=("text", "json")),
    _bool("debug", "", "add a traceback to errors"),
    _bool("systemd-cgroup", "", "let systemd make the cgroup (not supported yet)"),
    _str(
        "cgroup-manager",
        "",
        "MANAGER",
        "who makes the cgroup; only cgroupfs is supported yet",
        default="cgroupfs",
        choices=("cgroupfs", "systemd", "disabled"),
    ),
    _str(
        "rootless",
        "",
        "MODE",
        "auto, true (not supported yet) or false",
        default="auto",
        choices=("auto", "true", "false"),
    ),
    _bool("version", "v", "print the version"),
    _bool("help", "h", "print this help"),
)

_BUNDLE = _str("bundle", "b", "DIR", "bundle directory (default: the current one)", default=".")
_CONSOLE = _str("console-socket", "", "PATH", "socket that receives the terminal's master end")
_PIDFD = _str("pidfd-socket", "", "PATH", "socket that receives a pidfd", refused=True)
_PID_FILE = _str("pid-file", "", "PATH", "write the process id to this file")
_PRESERVE = Flag("preserve-fds", "", "int", "N", "pass N more descriptors after stdio", default=0)
_LIFECYCLE = _str("lifecycle", "", "FILE", "lifecycle file (YAML or JSON)")
_TABLE_JSON = ("table", "json")
_FORMAT = _str("format", "", "FORMAT", "table or json", default="table", choices=_TABLE_JSON)
_FORMAT_F = _str("format", "f", "FORMAT", "table or json", default="table", choices=_TABLE_JSON)
_FOLLOW = _bool("follow", "f", "go on and print what is new")

_CREATE: tuple[Flag, ...] = (
    _BUNDLE,
    _CONSOLE,
    _PIDFD,
    _PID_FILE,
    _bool("no-pivot", "", "do not use pivot_root"),
    _bool("no-new-keyring", "", "keep the caller's session keyring"),
    _PRESERVE,
    _LIFECYCLE,
)

_RUN: tuple[Flag, ...] = (
    *_CREATE,
    _bool("detach", "d", "do not wait for the container"),
    _bool("rm", "", "delete the container when it has stopped"),
    _bool("keep", "", "keep the container when it has stopped"),
    _bool("no-subreaper", "", "accepted for runc's sake"),
    _str(
        "restart",
        "",
        "POLICY",
        "Always, OnFailure or Never",
        choices=("Always", "OnFailure", "Never"),
    ),
)

_EXEC: tuple[Flag, ...] = (
    _CONSOLE,
    _PIDFD,
    _str("cwd", "", "DIR", "working directory in the container"),
    Flag("env", "e", "list", "NAME=VALUE", "add to the environment"),
    _bool("tty", "t", "give the process a terminal"),
    _str("user", "u", "UID[:GID]", "user of the process"),
    Flag("additional-gids", "g", "list", "GID", "add a supplementary group"),
    _str("process", "p", "FILE", "process.json instead of a command"),
    _bool("detach", "d", "do not wait for the process"),
    _PID_FILE,
    _str("process-label", "", "LABEL", "SELinux label", refused=True),
    _str("apparmor", "", "PROFILE", "AppArmor profile", refused=True),
    Flag("no-new-privs", "", "maybe", "", "set no_new_privs"),
    Flag("cap", "c", "list", "CAP", "add a capability"),
    _PRESERVE,
    _bool("ignore-paused", "", "run in a paused container as well"),
    _str("cgroup", "", "PATH", "run in this cgroup below the container's"),
)

_STOP: tuple[Flag, ...] = (
    Flag("grace", "t", "seconds", "SECONDS", "grace period instead of the container's"),
    _str("reason", "", "TEXT", "why, for the Killing event"),
    _bool("now", "", "SIGKILL at once"),
    _bool("no-wait", "", "request the stop and return"),
    Flag("timeout", "", "seconds", "SECONDS", "stop waiting after this time (status 124)"),
)

_EVENTS: tuple[Flag, ...] = (
    _FOLLOW,
    _FORMAT,
    _bool("stats", "", "print resource statistics as runc's JSON instead, once or with -f"),
    _str("interval", "", "TIME", "between statistics with -f, as in 500ms or 5s (default: 5s)"),
)

_UPDATE: tuple[Flag, ...] = (
    _str("resources", "r", "FILE", "linux.resources as JSON (- for stdin) instead of flags"),
    _str("blkio-weight", "", "N", "weight of block input and output, 10 to 1000"),
    _str("cpu-period", "", "USEC", "period of the CPU quota"),
    _str("cpu-quota", "", "USEC", "CPU time in a period; -1 for no limit"),
    _str("cpu-burst", "", "USEC", "CPU time saved up for bursts"),
    _str("cpu-share", "", "N", "CPU shares, 2 to 262144"),
    _str("cpu-rt-period", "", "USEC", "cgroup v1 only", refused=True),
    _str("cpu-rt-runtime", "", "USEC", "cgroup v1 only", refused=True),
    _str("cpuset-cpus", "", "LIST", "CPUs to use, as in 0-3,6"),
    _str("cpuset-mems", "", "LIST", "memory nodes to use"),
    _str("kernel-memory", "", "BYTES", "cgroup v1 only", refused=True),
    _str("kernel-memory-tcp", "", "BYTES", "cgroup v1 only", refused=True),
    _str("memory", "", "BYTES", "memory, as in 512M; -1 for no limit"),
    _str("memory-reservation", "", "BYTES", "memory that is not reclaimed (memory.low)"),
    _str("memory-swap", "", "BYTES", "memory and swap together; -1 for no limit"),
    _str("pids-limit", "", "N", "processes and threads; -1 for no limit"),
    _str("l3-cache-schema", "", "TEXT", "Intel RDT", refused=True),
    _str("mem-bw-schema", "", "TEXT", "Intel RDT", refused=True),
    _str("cpu-idle", "", "N", "1: run only when nothing else wants the CPU; 0: as usual"),
)

_LATER = "not supported by this version"

_TABLE: tuple[Verb, ...] = (
    Verb("create", "make a container, ready to start", ("ID",), _CREATE),
    Verb("start", "start the process of a created container", ("ID",)),
    Verb("run", "create and start a container", ("ID",), _RUN),
    Verb("state", "print the state of a container as JSON", ("ID",)),
    Verb(
        "kill",
        "send a signal to a container (default: SIGTERM)",
        ("ID", "[SIGNAL]"),
        (_bool("all", "a", "signal every process of the container"),),
    ),
    Verb(
        "delete",
        "remove a stopped container",
        ("ID",),
        (_bool("force", "f", "kill it first when it runs; no error when it does not exist"),),
    ),
    Verb("exec", "run a process in a container", ("ID", "[COMMAND...]"), _EXEC, foreign=1),
    Verb(
        "list",
        "list the containers",
        (),
        (_FORMAT_F, _bool("quiet", "q", "print the ids only")),
    ),
    Verb("ps", "list the processes of a container", ("ID", "[OPTION...]"), (_FORMAT_F,), foreign=1),
    Verb("pause", "freeze a container", ("ID",)),
    Verb("resume", "thaw a container", ("ID",)),
    Verb(
        "spec",
        "write a config.json to start from",
        (),
        (_BUNDLE, _bool("rootless", "", "for a rootless container", refused=True)),
    ),
    Verb("features", "print what this runtime supports as JSON"),
    Verb(
        "bundle",
        "make a runnable bundle",
        ("DIR", "[ARGS...]"),
        (_str("from", "", "SOURCE", "root file system: host or dir:PATH", default="host"),),
    ),
    Verb("explain", "print the plan of a bundle, execute nothing", (), (_BUNDLE, _LIFECYCLE)),
    Verb("stop", "PreStop, stop signal, SIGKILL within the grace period", ("ID...",), _STOP),
    Verb("events", "print what happened to a container, or to all", ("[ID]",), _EVENTS),
    Verb("hooks", "print every hook delivery of a container", ("ID",), (_FOLLOW, _FORMAT)),
    Verb("describe", "print all about a container, events included", ("ID",)),
    Verb(
        "wait",
        "wait until containers have stopped and print their exit status",
        ("ID...",),
        (Flag("timeout", "", "seconds", "SECONDS", "stop waiting after this time (status 124)"),),
    ),
    Verb("logs", "print the output of a container", ("ID",), (_FOLLOW,)),
    Verb("stats", "print what containers use, hooks included", ("ID...",), (_FORMAT,)),
    Verb("update", "change the limits of a container", ("ID",), _UPDATE),
    Verb("doctor", "say what this host offers and lacks, and how to get it", (), (_FORMAT,)),
    Verb("checkpoint", "", answer="not supported"),
    Verb("restore", "", answer="not supported"),
    Verb("hook", "", answer=_LATER),
    Verb("kube", "", answer=_LATER),
    Verb("timeline", "", answer=_LATER),
    Verb("metrics", "", answer=_LATER),
    Verb("completion", "", answer=_LATER),
)

VERBS: dict[str, Verb] = {verb.name: verb for verb in _TABLE}

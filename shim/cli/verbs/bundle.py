"""`shim bundle`."""

from __future__ import annotations

import os

from shim.cli.verbs.spec import write_config
from shim.errors import InputError, strerror

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.cli.options import Args


def run(args: Args) -> int:
    """Make a runnable bundle from this machine's own root or from a directory."""
    from shim.bundle.make import bundle_document, render

    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        mountinfo = file.read()
    document = bundle_document(getattr(args, "from"), args.args, mountinfo)
    root = document["root"]
    path = str(root["path"]) if isinstance(root, dict) else "rootfs"
    try:
        os.makedirs(args.dir, exist_ok=True)
        if not os.path.isabs(path):
            os.makedirs(os.path.join(args.dir, path), exist_ok=True)
        elif not os.path.isdir(path):
            raise InputError("--from", "", f"{path}: not a directory")
    except OSError as error:
        raise InputError(args.dir, "", strerror(error.errno or 0)) from None
    write_config(args.dir, render(document))
    return 0

"""`shim spec`."""

from __future__ import annotations

import os

from shim.errors import InputError, strerror

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.cli.options import Args


def run(args: Args) -> int:
    """Write a config.json to start from; as with runc, never over one that exists."""
    import json

    from shim.bundle.make import default_config

    path = os.path.join(args.bundle, "config.json")
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(json.dumps(default_config(), indent=2) + "\n")
    except FileExistsError:
        raise InputError(path, "", "file exists, remove it first") from None
    except OSError as error:
        raise InputError(path, "", strerror(error.errno or 0)) from None
    return 0

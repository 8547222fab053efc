"""`shim spec`."""

from __future__ import annotations

import os

from shim.errors import InputError, strerror

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.cli.options import Args


def run(args: Args) -> int:
    """Write a config.json to start from."""
    from shim.bundle.make import render, spec_document

    write_config(args.bundle, render(spec_document()))
    return 0


def write_config(directory: str, text: str) -> None:
    """DIRECTORY/config.json; as with runc, never over one that exists."""
    path = os.path.join(directory, "config.json")
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise InputError(path, "", "file exists, remove it first") from None
    except OSError as error:
        raise InputError(path, "", strerror(error.errno or 0)) from None

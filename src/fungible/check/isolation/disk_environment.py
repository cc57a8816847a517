"""The environment variables that keep an instance to its own disk."""

import os
from collections.abc import Mapping
from pathlib import Path

_XDG_FOLDERS = {
    "XDG_CONFIG_HOME": ".config",
    "XDG_CACHE_HOME": ".cache",
    "XDG_DATA_HOME": ".local/share",
    "XDG_STATE_HOME": ".local/state",
    "XDG_RUNTIME_DIR": ".run",
}
_TEMPORARY = ("TMPDIR", "TMP", "TEMP")


def real_home() -> Path:
    """The user's HOME, without symbolic links."""
    return Path(os.path.expanduser("~")).resolve()


def private_variables(
    given: Mapping[str, str], *, directory: Path, home: Path | None, temporary: Path
) -> dict[str, str]:
    """`given`, with what names folders changed so that an instance writes to its own.

    Args:
        directory: Where it runs.
        home: A HOME of its own; None where the user's is private to it in place.
        temporary: For temporary files.
    """
    changed = dict(given)
    if home is None:
        for name in _XDG_FOLDERS:
            # Left out, they default to folders in HOME.
            if name in given and Path(given[name]).resolve().is_relative_to(real_home()):
                del changed[name]
    else:
        changed["HOME"] = str(home)
        changed |= {name: str(home / folder) for name, folder in _XDG_FOLDERS.items()}
    changed |= dict.fromkeys(_TEMPORARY, str(temporary))
    # Compiled files and half-written logs would be noise in what is evidence.
    return changed | {"PWD": str(directory), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}


def make_home(home: Path) -> None:
    """An empty HOME for `private_variables`."""
    home.mkdir(mode=0o700)
    (home / _XDG_FOLDERS["XDG_RUNTIME_DIR"]).mkdir(mode=0o700)

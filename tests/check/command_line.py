"""Runs `fungible check` as its users do, and looks for what it may have left behind."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fungible

PATIENCE_S = 300.0
FOLDERS = tuple(Path(path) for path in ("/tmp", "/var/tmp", "/dev/shm"))
PACKAGE = str(Path(fungible.__file__).parent)
_PROGRAM = """
import functools, os, sys
import fungible.check.engine as engine
import fungible.check.instances.starter as instances
{before}
from fungible.cli.main import main
sys.exit(main())
"""


def heeds_signals() -> None:
    """For the new process, before it is what it will be: whoever runs the tests may ignore signals, as nohup does and
    a shell for a job in the background, and what is ignored stays so in all that is started."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@dataclass
class Ended:
    """How a command ended, and what it printed."""

    status: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """All of it in one line, to look for words in."""
        return " ".join((self.out + " " + self.err).replace("\\n", " ").split())

    @property
    def report(self) -> dict[str, Any]:
        return json.loads(self.out)


class CommandLine:
    """`fungible check` in a folder of its own; what it starts carries a mark by which it can be found."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mark = f"mark-{uuid.uuid4().hex}"
        self.temporary = folder / "temporary"
        self.app = folder / "app"
        for path in (self.temporary, self.app):
            path.mkdir()

    @property
    def env(self) -> dict[str, str]:
        return {
            **os.environ,
            "TMPDIR": str(self.temporary),
            "FUNGIBLE_TEST_MARK": self.mark,
            "COLUMNS": "4000",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def command(self, *arguments: Any, before: str = "") -> list[str]:
        """The command; `before` is Python that runs first, to shorten what takes long."""
        program = ["-c", _PROGRAM.format(before=before)] if before else ["-m", "fungible.cli.main"]
        return [sys.executable, *program, "check", *map(str, arguments)]

    def begin(self, *arguments: Any, before: str = "", **how: Any) -> subprocess.Popen[str]:
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(
            self.command(*arguments, before=before),
            cwd=self.app,
            env=self.env,
            text=True,
            errors="replace",
            **(pipes | {"preexec_fn": heeds_signals} | how),
        )

    def run(self, *arguments: Any, before: str = "") -> Ended:
        """Runs it to its end, after which nothing of it may be left."""
        process = self.begin(*arguments, before=before)
        try:
            out, err = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
            process.wait()
        ended = Ended(process.returncode, out, err)
        self.is_clean()
        assert f'File "{PACKAGE}' not in out + err, out + err
        return ended

    def processes(self) -> dict[int, str]:
        """What lives of it: by its mark in a command line or in an environment."""
        found: dict[int, str] = {}
        for process in filter(str.isdigit, os.listdir("/proc")):
            try:
                line = Path(f"/proc/{process}/cmdline").read_bytes()
                seen = line + Path(f"/proc/{process}/environ").read_bytes()
            except OSError:
                continue
            if self.mark.encode() in seen:
                found[int(process)] = line.replace(b"\0", b" ").decode("utf-8", "replace")
        return found

    def wait_for(self, what: str, *, besides: int) -> None:
        """Waits until a process other than the checker itself has this in its command line."""
        self.until(
            lambda: any(what in line for pid, line in self.processes().items() if pid != besides),
            f"nothing runs {what}",
        )

    def is_clean(self, within_s: float = 0) -> None:
        """No process of it, and no folder, after so many seconds."""
        self.until(lambda: not self.processes(), "processes are left", within_s)
        assert self.left() == []

    def left(self) -> list[Path]:
        """Folders of the checker that hold something of this run."""
        ours = [path for path in self.temporary.iterdir() if path.name.startswith("fungible-")]
        elsewhere = [path for folder in FOLDERS if folder.is_dir() for path in folder.glob("fungible-*")]
        return ours + [path for path in elsewhere if self._marked(path)]

    def _marked(self, folder: Path) -> bool:
        return any(self.mark in name for _, folders, files in os.walk(folder) for name in (*folders, *files))

    def until(self, condition: Any, words: str, within_s: float = 60) -> None:
        end = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() <= end, f"{words}: {self.processes()}"
            time.sleep(0.05)

    def write(self, name: str, content: Any) -> Path:
        """A file in the folder; what is no text is written as JSON."""
        path = self.folder / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    def flow(self, steps: Sequence[dict[str, Any]], **target: Any) -> Path:
        """A check file with one flow."""
        return self.write("flow.json", {"target": target, "flows": [{"name": "flow", "steps": list(steps)}]})

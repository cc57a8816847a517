"""A database's own client program, kept open: it starts once, and asks as often as one likes."""

import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from servers.server import as_ordinary_user

END: Final = "-- that is all --"


class SQLClient:
    """Feeds statements to a program such as psql, and reads what it prints."""

    def __init__(self, command: Sequence[str], *, env: Mapping[str, str]) -> None:
        # It ends when its input does, and so with us.
        self._program = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd="/",
            env=env,
            **as_ordinary_user(),
        )

    def run(self, sql: str) -> str:
        """Runs statements, and gives their rows as text.

        Raises:
            RuntimeError: one of them has failed; it has what the program said.
        """
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        said: list[str] = []
        try:
            self._program.stdin.write(f"{sql};\nSELECT '{END}';\n")
            self._program.stdin.flush()
            for line in self._program.stdout:
                if line.strip() == END:
                    return "".join(said).strip()
                said.append(line)
        except BrokenPipeError:
            said += self._program.stdout
        # An error ends the program.
        self.close()
        raise RuntimeError(f"{sql}: {''.join(said)}")

    @property
    def ended(self) -> bool:
        """Whether it is of no more use."""
        return self._program.poll() is not None

    def close(self) -> None:
        """Ends the program."""
        self._program.kill()
        self._program.wait()
        for pipe in (self._program.stdin, self._program.stdout):
            with suppress(BrokenPipeError):
                assert pipe is not None
                pipe.close()

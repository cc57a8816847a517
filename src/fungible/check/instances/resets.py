"""The `reset` commands of a target, also where the application makes its tables while it starts."""

from collections.abc import Callable

from fungible.check.errors import StartError
from fungible.check.instances.pool import Pool


class Resets:
    """Cleans the backing services before each run.

    In a new database there may be no tables yet: many applications make them while they start. So commands that fail
    before they have worked once are run again as soon as one instance is up; only then is it their fault.
    """

    def __init__(self, commands: Callable[[], None], pool: Pool) -> None:
        self._commands = commands
        self._pool = pool
        self._has_worked = False

    def __call__(self) -> None:
        """Runs the commands.

        Raises:
            StartError: a command failed although an instance had started.
        """
        try:
            self._commands()
        except StartError:
            if self._has_worked:
                raise
            self._once_started()
        self._has_worked = True

    def _once_started(self) -> None:
        kit = self._pool.open_world()
        try:
            instance = self._pool.take(kit)
            try:
                self._commands()
            except StartError as error:
                raise StartError(
                    f"{error}\nIt fails beside a running instance as well, so it is not for want of tables that the application "
                    "makes at its start: correct the command, or make what it needs in `setup`"
                ) from None
            finally:
                self._pool.dispose(instance)
        finally:
            self._pool.close_world(kit)

"""Setting an engine up and back: from a plan to changes, shown first and then written."""

import contextlib
import difflib
from dataclasses import dataclass

from damselfly.services.engine_setup.engines import PLANNERS, RESTARTS
from damselfly.services.engine_setup.host_files import HostFiles
from damselfly.services.engine_setup.installed import (
    BEFORE,
    EDITED,
    FOLDER,
    SECRET_MODE,
    Installed,
    InstalledFile,
    digest_of,
    text_of,
)
from damselfly.services.engine_setup.plans import Engine, FileKind, PlannedFile, Wish


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What becomes of one file; None: there is none."""

    path: str
    now: bytes | None
    new: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a command is about to do.

    Attributes:
        changes: Only files that change.
        notes: Sentences for the user.
        restart: The command after which it counts; empty: it counts at once.
    """

    changes: tuple[Change, ...]
    notes: tuple[str, ...]
    restart: str

    def diff(self) -> str:
        """Return all changes as a unified diff."""
        return "".join(_diff(change) for change in self.changes)


def _diff(change: Change) -> str:
    old, new = (
        (text_of(data, change.path) or "").splitlines(keepends=True)
        for data in (change.now, change.new)
    )
    lines = difflib.unified_diff(
        old,
        new,
        "/dev/null" if change.now is None else change.path,
        "/dev/null" if change.new is None else change.path,
    )
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
    )


def _note_of_edits(path: str) -> str:
    return f"{path}: was edited since; the edited text is kept in {EDITED}{path}"


def _setup(engine: Engine, changes: list[Change], notes: list[str]) -> Setup:
    real = tuple(change for change in changes if change.now != change.new)
    restart = RESTARTS[engine]([change.path for change in real])
    return Setup(changes=real, notes=tuple(notes), restart=restart)


class EngineSetup:
    """Sets engines up on one host, or in one image."""

    def __init__(self, root: str = "/") -> None:
        self._host = HostFiles(root)

    def install(self, engine: Engine, wish: Wish, *, is_dry_run: bool = False) -> Setup:
        """Set an engine up, whatever it was set up to before.

        Raises:
            EngineConfigError: A file cannot be parsed or written; nothing is changed if it
                cannot be parsed.
        """
        with contextlib.nullcontext() if is_dry_run else self._host.locked(FOLDER):
            installed = Installed(self._host)
            plan = PLANNERS[engine](installed, wish)
            files: dict[str, PlannedFile] = {}
            changes, kept = [], []
            for file in plan.files:
                if file.text == (installed.read(file.path) or ""):
                    continue  # as wished already, without us
                files[file.path] = file
                changes.append(self._change(file.path, file.text.encode()))
                if installed.is_edited(file.path) and file.kind is FileKind.OWN:
                    kept.append(_note_of_edits(file.path))
            undone = [
                path
                for path, file in installed.files.items()
                if engine in file.engines and path not in files
            ]
            undoing, notes = self._undo(installed, engine, undone)
            setup = _setup(engine, [*changes, *undoing], [*plan.notes, *kept, *notes])
            if not is_dry_run:
                self._write(installed, engine, wish, files, setup)
                self._carry_out_undoing(installed, engine, undone, setup)
            return setup

    def uninstall(self, engine: Engine, *, is_dry_run: bool = False) -> Setup:
        """Put back what was there before, or take our part out of what was edited since.

        Raises:
            EngineConfigError: A file that was edited cannot be parsed, or written.
        """
        with contextlib.nullcontext() if is_dry_run else self._host.locked(FOLDER):
            installed = Installed(self._host)
            paths = [path for path, file in installed.files.items() if engine in file.engines]
            setup = _setup(engine, *self._undo(installed, engine, paths))
            if not is_dry_run:
                self._carry_out_undoing(installed, engine, paths, setup)
            return setup

    def _change(self, path: str, new: bytes | None) -> Change:
        return Change(path=path, now=self._host.read(path), new=new)

    # --- deciding

    def _undo(
        self, installed: Installed, engine: Engine, paths: list[str]
    ) -> tuple[list[Change], list[str]]:
        changes, notes = [], []
        for path in paths:
            others = [each for each in installed.files[path].engines if each is not engine]
            if others:
                notes.append(f"{path}: stays as it is, {' and '.join(others)} uses it too")
                continue
            change = self._change(path, installed.without_us(path))
            changes.append(change)
            if change.now is None:
                notes.append(f"{path}: is gone already")
            elif not installed.is_edited(path):
                continue
            elif installed.files[path].kind is FileKind.OWN:
                notes.append(_note_of_edits(path))
            else:
                notes.append(f"{path}: was edited since, so only our part is taken out")
        return changes, notes

    # --- doing

    def _write(
        self,
        installed: Installed,
        engine: Engine,
        wish: Wish,
        files: dict[str, PlannedFile],
        setup: Setup,
    ) -> None:
        for file in files.values():
            self._keep(installed, engine, wish, file)
        installed.save()
        news = {change.path: change for change in setup.changes}
        for path in files:
            change = news.get(path)
            if change is not None and change.new is not None:
                made = self._host.write(path, change.new, mode=self._host.mode(path))
                installed.files[path].folders += tuple(made)
        installed.save()

    def _keep(self, installed: Installed, engine: Engine, wish: Wish, file: PlannedFile) -> None:
        """Note what we are about to do to a file, and keep it as it was."""
        before, old = installed.without_us(file.path), installed.files.get(file.path)
        self._keep_edits(installed, file.path)
        if before is None:
            self._host.remove(BEFORE + file.path)
        else:
            self._host.write(BEFORE + file.path, before, mode=SECRET_MODE)
        engines = (engine,) if old is None else tuple(sorted({*old.engines, engine}))
        installed.files[file.path] = InstalledFile(
            path=file.path,
            kind=file.kind,
            engines=engines,
            proxy_url=wish.proxy_url,
            mode=old.mode if old else self._host.mode(file.path),
            digest=digest_of(file.text.encode()),
            folders=old.folders if old else (),
        )

    def _carry_out_undoing(
        self, installed: Installed, engine: Engine, paths: list[str], setup: Setup
    ) -> None:
        news = {change.path: change for change in setup.changes}
        folders: list[str] = []
        for path in paths:
            file = installed.files[path]
            if file.engines != (engine,):
                file.engines = tuple(each for each in file.engines if each is not engine)
                continue
            if (change := news.get(path)) is not None:
                self._put_back(installed, file, change)
            folders += file.folders
            self._forget(path)
            del installed.files[path]
        self._host.remove_empty(folders)
        installed.save()

    def _put_back(self, installed: Installed, file: InstalledFile, change: Change) -> None:
        self._keep_edits(installed, file.path)
        if change.new is None:
            self._host.remove(file.path)
        else:
            self._host.write(file.path, change.new, mode=file.mode)

    def _keep_edits(self, installed: Installed, path: str) -> None:
        """Keep what somebody wrote into a file that is ours alone, before it goes."""
        now = self._host.read(path)
        if now and installed.is_edited(path) and installed.files[path].kind is FileKind.OWN:
            self._host.write(EDITED + path, now, mode=SECRET_MODE)

    def _forget(self, path: str) -> None:
        """Remove the file as it was, and the folders that kept it."""
        folders = [BEFORE]  # outermost first
        for part in path.split("/")[1:-1]:
            folders.append(f"{folders[-1]}/{part}")
        self._host.remove(BEFORE + path)
        self._host.remove_empty(folders)

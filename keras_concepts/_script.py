"""Runs a training script in this process, as `python train.py` would."""

import builtins
import contextlib
import importlib.machinery
import importlib.util
import io
import os
import runpy
import sys
import types
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

_HERE = os.path.dirname(__file__)
# Modules whose frames are hidden from tracebacks.
_OURS = (__file__, os.path.join(_HERE, "_watch.py"))


class Outcome(NamedTuple):
    """How a script ended.

    Attributes:
        code: The exit code of `python`.
        is_interrupted: Whether Ctrl-C ended it. `python` then dies of the
            signal, so that a shell script around it ends, too.
    """

    code: int
    is_interrupted: bool = False

    def exit(self) -> None:
        """Ends this process in the way the script ended."""
        if self.is_interrupted:
            raise Interrupted
        sys.exit(self.code)


class Interrupted(BaseException):
    """Ctrl-C has ended the script and must end this process.

    Not a `KeyboardInterrupt`, which click turns into an exit code.
    """


def run_script(
    target: str, arguments: Sequence[str], is_module: bool
) -> Outcome:
    """Runs a script to its end.

    All behaves as with `python`: `sys.argv`, `sys.path[0]`, `__main__`, the
    traceback of an uncaught exception.

    Args:
        target: File or folder as for `python`, or module as for `python -m`.
        arguments: Arguments of the script.
        is_module: Whether `target` is the name of a module.
    """
    try:
        if is_module:
            _run_module(target, arguments)
        else:
            _run_file(target, arguments)
    except SystemExit as error:
        return Outcome(_code_of(error))
    except BaseException as error:
        is_interrupt = isinstance(error, KeyboardInterrupt)
        _keep_own_frames(error)
        sys.excepthook(type(error), error, error.__traceback__)
        return Outcome(130 if is_interrupt else 1, is_interrupt)
    return Outcome(0)


def _run_file(path: str, arguments: Sequence[str]) -> None:
    sys.argv = [path, *arguments]
    if os.path.isdir(path) or _is_archive(path):  # holding `__main__.py`
        _ = sys.path.pop(0)
        _ = runpy.run_path(path, run_name="__main__")
        return
    file = os.path.abspath(path)
    _set_first_path(os.path.dirname(os.path.realpath(file)))
    with io.open_code(file) as opened:
        source = opened.read()
    code = compile(source, file, "exec", dont_inherit=True)
    loader = importlib.machinery.SourceFileLoader("__main__", file)
    _execute(code, __file__=file, __loader__=loader, __cached__=None)


def _run_module(name: str, arguments: Sequence[str]) -> None:
    sys.argv = ["-m", *arguments]
    _set_first_path(os.getcwd())
    try:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            name = f"{name}.__main__"
            spec = importlib.util.find_spec(name)
    except ImportError as error:
        if not _is_of_the_way_to(name, error):  # by what is on it
            raise
        raise SystemExit(
            f"{sys.executable}: Error while finding module specification for "
            f"{name!r} ({type(error).__name__}: {error})"
        ) from error
    if spec is None or spec.loader is None or spec.origin is None:
        raise SystemExit(f"{sys.executable}: No module named {name}")
    sys.argv[0] = spec.origin
    loader: Any = spec.loader
    _execute(
        loader.get_code(spec.name),
        __file__=spec.origin,
        __loader__=spec.loader,
        __spec__=spec,
        __package__=spec.parent,
        __cached__=spec.cached,
    )


def _is_of_the_way_to(name: str, error: ImportError) -> bool:
    """Whether the missing module is this one, or a package that contains it."""
    missing = error.name
    return missing is None or name == missing or name.startswith(f"{missing}.")


def _execute(code: Any, **attributes: Any) -> None:
    """Executes code as the module `__main__`, which it stays.

    Classes of a script are looked up there when they are unpickled, and worker
    processes read from it which script to import.
    """
    main = types.ModuleType("__main__")
    vars(main).update({"__builtins__": builtins, "__spec__": None})
    if "__annotations__" in vars(sys.modules["__main__"]):  # by this Python
        vars(main)["__annotations__"] = {}
    vars(main).update(attributes)
    sys.modules["__main__"] = main
    exec(code, vars(main))


def _set_first_path(folder: str) -> None:
    """Replaces the folder of this package's command by the script's."""
    if not sys.flags.safe_path:
        sys.path[0] = folder


def _is_archive(path: str) -> bool:
    """Whether Python would run a file as a ZIP file."""
    import zipfile

    return os.path.isfile(path) and zipfile.is_zipfile(path)


def _code_of(error: SystemExit) -> int:
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code
    with contextlib.suppress(OSError, ValueError, AttributeError):
        _ = sys.stderr.write(f"{error.code}\n")
    return 1


def _keep_own_frames(error: BaseException) -> None:
    """Removes the callers of the script, and `watch`, from a traceback.

    Args:
        error: The exception; its causes are changed, too.
    """
    main = vars(sys.modules["__main__"])
    seen: set[int] = set()
    errors: list[BaseException | None] = [error]
    while errors:
        each = errors.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        errors += [each.__cause__, each.__context__]
        frames = list(_frames(each.__traceback__))
        if each is error:
            begun = [f.tb_frame.f_globals is main for f in frames]
            if True in begun:
                del frames[: begun.index(True)]
        own = None
        for frame in reversed(frames):
            if frame.tb_frame.f_code.co_filename not in _OURS:
                own = types.TracebackType(
                    own, frame.tb_frame, frame.tb_lasti, frame.tb_lineno
                )
        each.__traceback__ = own


def _frames(
    traceback: types.TracebackType | None,
) -> Iterator[types.TracebackType]:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next

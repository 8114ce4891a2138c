"""The files that `edgeward model push FILE` reads: a Python file that is run, a model's file with its sample, a folder.

Decides what each kind of file must provide, and which lines of it an error shows. Refuses to know how the model is
pushed.
"""

import runpy
import sys
import traceback
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from contract.errors import BadInput, Code
from contract.world_faults import world_error
from edgeward.csv_rows import read_csv

MAX_OWN_LINES = 3
"""Lines of the user's own files that an error is shown with, the innermost last."""
MAX_ERROR_CHARS = 240
"""Characters of an error's own words: they may contain a whole table."""


def load(file: Path | str, sample_path: Path | None, texts: Sequence[str] = ()) -> tuple[Any, Any]:
    """Returns (model, sample) of a pushed file; `texts` are columns of a .csv sample that are read as text.

    BadInput `request_invalid` or `sample_missing` that names the file.
    """
    if texts and (sample_path is None or not _is_csv(sample_path)):
        raise BadInput(Code.REQUEST_INVALID, "--text names columns of a --sample that is a .csv: others have types")
    if isinstance(file, str) or file.is_dir():
        return file, None if sample_path is None else _rows(sample_path, texts)
    if file.suffix != ".py":
        if sample_path is None:
            raise BadInput(Code.SAMPLE_MISSING, f"{file}: parity needs rows: add --sample rows.csv")
        return file, _rows(sample_path, texts)
    left = _run(file)
    if missing := [name for name in ("model", "sample") if name not in left]:
        raise BadInput(
            Code.REQUEST_INVALID, f"{file} leaves no {' and no '.join(missing)}: assign a fitted `model` and `sample`"
        )
    return left["model"], left["sample"] if sample_path is None else _rows(sample_path, texts)


def _is_csv(path: Path) -> bool:
    return path.suffix in (".csv", ".gz")


def _run(file: Path) -> dict[str, Any]:
    """Returns the variables of a Python file after its run. BadInput `request_invalid` with the lines of the user's own
    files.
    """
    sys.path.insert(0, str(file.resolve().parent))  # as `python FILE` does: the file may import others in its directory
    try:
        return runpy.run_path(str(file))
    except (Exception, SystemExit) as error:
        raise BadInput(Code.REQUEST_INVALID, f"{file} has failed: {own_lines(error, file)}") from None


def own_lines(error: BaseException, file: Path) -> str:
    """Returns the error with those lines of its trace that are in the directory of `file`, and not in a library."""
    home = str(file.resolve().parent)
    frames = [
        each
        for each in traceback.extract_tb(error.__traceback__)
        if not each.filename.startswith("<")  # as <frozen runpy>, which would resolve into the current directory
        and str(Path(each.filename).resolve()).startswith(home)
        and "site-packages" not in each.filename
    ]
    where = "".join(f"\n  {each.filename}:{each.lineno}: {each.line}" for each in frames[-MAX_OWN_LINES:])
    return "".join(traceback.format_exception_only(error)).strip()[:MAX_ERROR_CHARS] + where


def _rows(path: Path, texts: Sequence[str] = ()) -> Any:
    import numpy as np
    import pandas as pd

    csv = partial(read_csv, texts=texts)
    readers = {".csv": csv, ".gz": csv, ".parquet": pd.read_parquet, ".npy": np.load, ".npz": np.load}
    if path.suffix not in readers:
        raise BadInput(Code.REQUEST_INVALID, f"{path}: expected .csv, .csv.gz, .parquet, .npy or .npz")
    try:
        rows = readers[path.suffix](path)
    except ImportError:
        raise BadInput(Code.CONFIG_INVALID, f"{path}: Parquet needs pyarrow: pip install 'edgeward[parquet]'") from None
    except BadInput:
        raise
    except OSError as error:
        raise world_error(error) from None
    except Exception as error:  # each reader raises its own errors for a file of another format than its name says
        arrays = path.suffix in (".npy", ".npz")  # numpy's own message recommends to unpickle the file
        said = "it holds no array that numpy.save has written without pickled objects" if arrays else str(error)
        words = f"{path} cannot be read as {path.suffix}: {said}"
        raise BadInput(Code.REQUEST_INVALID, words[:MAX_ERROR_CHARS]) from None
    if hasattr(rows, "columns") and not len(rows):
        raise BadInput(Code.SAMPLE_MISSING, f"{path} has columns and no rows: the sample are rows as devices see them")
    return rows

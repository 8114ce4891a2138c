"""The calls of the client about data sets of captured rows, and about deleting rows.

Decides nothing. Refuses to know HTTP (`transport`).
"""

import hashlib
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from contract.errors import BadInput, Code, WorldError
from edgeward.answers.data import DataComparison, DataSet, DataSetMade, Deletion, RowsLeftOut
from edgeward.answers.table import Table
from edgeward.transport import Transport

if TYPE_CHECKING:
    import pandas as pd

DATA_PAGE = 1_000
"""Versions of data sets per call: the most that the controller answers."""


class DataCalls:
    """Calls about data sets. A name is `NAME@VERSION`, `NAME@newest`, or `NAME` for the newest."""

    _transport: Transport

    def data_sets(self) -> Table[DataSet]:
        """All versions of all data sets, by name and number."""
        found: list[DataSet] = []
        while True:
            page = self._transport.get(f"/v1/data?limit={DATA_PAGE}&offset={len(found)}")
            found += map(DataSet.read, page["data_sets"])
            if not page["data_sets"] or len(found) >= page["total"]:
                return Table(sorted(found, key=lambda each: (each.name, each.version)))

    def rows_left_out(self) -> Table[RowsLeftOut]:
        """Captured rows that the controller has not kept since it started, by version: its registry lacks these, as
        after a restore from an older backup.
        """
        return Table(map(RowsLeftOut.read, self._transport.get("/v1/data?limit=1")["left_out"]))

    def make_data_set(
        self,
        name: str,
        model: str,
        *,
        since: float = 0.0,
        until: float = 0.0,
        labelled: bool = False,
        remove: Sequence[str] = (),
        keep_days: float = 0.0,
    ) -> DataSetMade:
        """Makes the next version of a data set from the rows that devices captured of a model, with their labels.

        `since` and `until` in seconds since 1970; `labelled`: only rows with a label; `remove` leaves columns out;
        after `keep_days` it is deleted automatically. The same rows make no second version: then `new` is False.
        """
        body: dict[str, object] = {"model": model, "since": since, "until": until, "labelled": labelled}
        body |= {"remove": list(remove), "keep_days": keep_days}
        return DataSetMade.read(self._transport.post(f"/v1/data/{name}", body))

    def data_set(self, reference: str) -> DataSet:
        """One version with its schema. BadInput `unknown_data_set`."""
        return DataSet.read(self._transport.get(_path(reference)))

    def data_rows(self, reference: str) -> "pd.DataFrame":
        """Returns the rows of a version. Runs and versions that are made of them name the data set automatically.

        BadInput `config_invalid` without pyarrow; WorldError `digest_mismatch` if they arrived damaged.
        """
        import pandas as pd  # takes 0.4 s to import

        from edgeward.runs.run import DATA_SET_ATTRIBUTE

        found = self.data_set(reference)
        try:
            rows = pd.read_parquet(io.BytesIO(self.data_file(found)))
        except ImportError:
            raise BadInput(Code.CONFIG_INVALID, "Parquet needs pyarrow: pip install 'edgeward[parquet]'") from None
        rows.attrs[DATA_SET_ATTRIBUTE] = found.reference
        return rows

    def data_file(self, data_set: DataSet) -> bytes:
        """Returns the Parquet file of a version. WorldError `digest_mismatch` if it arrived damaged."""
        content = self._transport.fetch(f"{_path(data_set.reference)}/file")
        if hashlib.sha256(content).hexdigest() != data_set.sha256:
            raise WorldError(Code.DIGEST_MISMATCH, f"{data_set.reference} came damaged, or rows went meanwhile")
        return content

    def compare_data_sets(self, name: str, before: int, after: int) -> DataComparison:
        """Returns what differs between two versions: rows, columns, labels, means."""
        return DataComparison.read(self._transport.get(f"/v1/data/{name}/compare/{before}/{after}"))

    def delete_data_set(self, reference: str) -> DataSet:
        """Deletes the rows of one version; its record stays. Captured rows stay as well."""
        return DataSet.read(self._transport.delete(_path(reference)))

    def delete_rows(
        self,
        reason: str,
        *,
        model: str = "",
        keys: Sequence[str] = (),
        answers: Sequence[str] = (),
        devices: Sequence[str] = (),
        since: float = 0.0,
        before: float = 0.0,
    ) -> Deletion:
        """Deletes captured rows at the controller, in data sets and on devices, and names the models trained on them.

        All conditions must hold; of several keys, answers or devices one is enough. `deletion` says when devices are
        done.
        """
        body: dict[str, object] = {"reason": reason, "model": model, "keys": list(keys), "answers": list(answers)}
        body |= {"devices": list(devices), "since": int(since), "before": int(before)}
        return Deletion.read(self._transport.post("/v1/deletions", body))

    def deletions(self) -> Table[Deletion]:
        """All deletions, newest first."""
        return Table(map(Deletion.read, self._transport.get("/v1/deletions")))

    def deletion(self, identifier: str) -> Deletion:
        """One deletion: what was deleted where, and which devices have not answered."""
        return Deletion.read(self._transport.get(f"/v1/deletions/{identifier}"))


def _path(reference: str) -> str:
    name, _, number = reference.partition("@")
    return f"/v1/data/{name}/versions/{number or 'newest'}"

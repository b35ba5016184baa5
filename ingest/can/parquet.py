"""Every decoded signal at full resolution, as one Parquet file: name, time, value, in long form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ingest.can.signals import Samples

SCHEMA = pa.schema(
    [
        ("signal", pa.dictionary(pa.int32(), pa.string())),
        ("time", pa.timestamp("us", "UTC")),
        ("value", pa.float64()),
    ]
)


class SignalFile:
    """Writes samples as they are decoded: one row group a call, sorted by signal, then time."""

    def __init__(self, path: Path) -> None:
        self._writer = pq.ParquetWriter(
            path, SCHEMA, compression="zstd", compression_level=1, use_dictionary=["signal", "value"],
            column_encoding={"time": "DELTA_BINARY_PACKED"}, write_statistics=["time", "signal"],
        )  # fmt: skip

    def write(self, samples: list[Samples]) -> None:
        """Append samples; missing values are left out."""
        samples = [sample for sample in sorted(samples, key=lambda s: s.name) if len(sample.values)]
        if not samples:
            return
        codes = np.repeat(np.arange(len(samples), dtype=np.int32), [len(s.values) for s in samples])
        values = np.concatenate([sample.values for sample in samples])
        times = np.concatenate([sample.time_us for sample in samples])
        known = ~np.isnan(values)
        if not known.all():
            codes, values, times = codes[known], values[known], times[known]
        names = pa.DictionaryArray.from_arrays(pa.array(codes), pa.array([sample.name for sample in samples]))
        columns = [names, pa.array(times).cast(pa.timestamp("us", "UTC")), pa.array(values)]
        self._writer.write_table(pa.Table.from_arrays(columns, schema=SCHEMA), row_group_size=len(values) or 1)

    def close(self) -> None:
        """Finish the file."""
        self._writer.close()

#!/bin/sh
# lancedb: the memory of a process that writes small batches grows with every write, until its caches are bounded.
#
# Guess:  a process that replaces the same few rows again and again needs about the same memory after a thousand writes as
#         after two hundred; the table grows on disk only.
# Seen:   lancedb 0.40.0: each merge_insert of 10 rows leaves about 0.1 MB in the process, and optimize() does not free it. The
#         session of a connection caches manifests and metadata of old versions; by default it may take gigabytes. With
#         lancedb.connect(folder, session=lancedb.Session(...)) and 16 MB for either cache the growth ends.
# So:     give a long-lived writer (a server) a session of its own with bounded caches, as ours has.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -q "lancedb==0.40.0" "pyarrow>=17" "numpy==2.4.6"
cat > "$work/grows.py" <<'PYTHON'
import sys
from datetime import timedelta
from pathlib import Path

import lancedb
import numpy as np
import pyarrow as pa

sizes = {"index_cache_size_bytes": 2**24, "metadata_cache_size_bytes": 2**24}
options = {"session": lancedb.Session(**sizes)} if sys.argv[1] == "bounded" else {}
schema = pa.schema([pa.field("id", pa.string()), pa.field("vector", pa.list_(pa.float32(), 64))])
table = lancedb.connect(sys.argv[1], **options).create_table("items", schema=schema)


def resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


vectors = np.random.default_rng(0).standard_normal((10, 64)).astype(np.float32)
seen = []
for number in range(1, 1001):
    rows = pa.Table.from_pylist([{"id": str(place), "vector": row} for place, row in enumerate(vectors)], schema)
    table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(rows)
    if number % 100 == 0:
        table.optimize(cleanup_older_than=timedelta(hours=1))
    if number % 200 == 0:
        seen.append(resident())
print(sys.argv[1], "MB after 200, 400, ... 1000 writes:", [round(each) for each in seen])
print(seen[-1] - seen[-3], file=open(f"{sys.argv[1]}.growth", "w"))
PYTHON
cd "$work" && venv/bin/python grows.py default && venv/bin/python grows.py bounded
venv/bin/python - <<'PYTHON'
default, bounded = (float(open(f"{name}.growth").read()) for name in ("default", "bounded"))
print(f"growth in the last 400 writes: {default:.0f} MB by default, {bounded:.0f} MB with bounded caches")
assert default > 20 > 2 * bounded
PYTHON

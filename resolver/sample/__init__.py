"""A small test bed of synthetic patients that comes with the package, and a config that runs it.

README.md says how it was made. Knows nothing of stages.
"""

from __future__ import annotations

import json
from pathlib import Path

FOLDER = Path(__file__).parent / "bed"


def config(run: Path, bed: Path = FOLDER) -> str:
    """YAML for a run of the sample into the folder `run`.

    Each facility is a source of its own: the truth lies beside them, and only `evaluate` is told where.
    """
    facilities = sorted(path for path in bed.glob("facility_*") if path.is_dir())
    # Text in JSON's quotes is YAML too, whatever characters a path has.
    sources = "\n".join(
        f"  - {{kind: synthea, path: {json.dumps(str(folder))}, fields: {{middle_name: MIDDLE}}}}"
        for folder in facilities
    )
    return f"""\
# The sample of synthetic patients that comes with resolver. A run takes it from records to index and report.
run:
  dir: {json.dumps(str(run))}

# One source per facility. Middle names are read because this sample has them broken like the rest.
sources:
{sources}

# What is true is known of synthetic patients. Leave this out for your own: nothing but the report changes.
evaluate:
  truth: {json.dumps(str(bed / "truth" / "truth.parquet"))}
  persons: {json.dumps(str(bed / "truth" / "persons.parquet"))}

report:
  title: Demo on synthetic patients
"""

"""Tariffs' files as they are written, for what has to tell or keep their content."""

from pathlib import Path
from typing import Any

from ocs.rating.document import document
from ocs.rating.numbering import tables_of
from ocs.rating.written import Written, WrittenPlan


def written_tariffs(place: Path, zones_folder: Path) -> dict[str, Written]:
    """Return the texts of a tariff's file, or of all of a folder, by key; they have been read as tariffs without a fault."""
    plans: dict[str, WrittenPlan] = {}
    for file in sorted(zones_folder.glob("*.yaml")):
        text, content = _read(file)
        names = sorted(set(tables_of(content)))
        tables = tuple((name, (zones_folder / name).read_text(encoding="utf-8")) for name in names)
        plans[str(content["numbering"])] = WrittenPlan(text, tables)
    found = {}
    for file in sorted(place.glob("*.yaml")) if place.is_dir() else [place]:
        text, content = _read(file)
        plan = plans[content["numbering"]] if content.get("numbering") is not None else None
        found[f"{content['tariff']}@{content['version']}"] = Written(text, plan)
    return found


def _read(file: Path) -> tuple[str, dict[str, Any]]:
    text = file.read_text(encoding="utf-8")
    return text, document(text, str(file)).content

from pathlib import Path

import pytest

from mnemic_actions.manifest import feature_rates, open_manifest, write_manifest
from mnemic_core.errors import UserError
from mnemic_vision.frame_features import ExtractorConfig

ENTRY = {"digest": "0", "features_per_second": 5.0}


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    record, entries = open_manifest(tmp_path, ExtractorConfig())
    assert entries == {}
    write_manifest(record, {"b": ENTRY, "a": ENTRY})
    assert open_manifest(tmp_path, ExtractorConfig())[1] == {"a": ENTRY, "b": ENTRY}
    assert feature_rates(tmp_path) == {"a": 5.0, "b": 5.0}


def test_features_of_another_extractor_are_refused(tmp_path: Path) -> None:
    write_manifest(open_manifest(tmp_path, ExtractorConfig())[0], {"a": ENTRY})
    with pytest.raises(UserError, match=r"extractor\.stride: 6 there, 3 here\); give another --out"):
        open_manifest(tmp_path, ExtractorConfig(stride=3))


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"settings": {}, "videos": [1]}', '{"settings": {}, "videos": {"a": 1}}']
)
def test_manifests_of_other_programs_tell_no_rates(text: str, tmp_path: Path) -> None:
    assert feature_rates(tmp_path) == {}
    (tmp_path / "manifest.json").write_text(text)
    assert feature_rates(tmp_path) == {}

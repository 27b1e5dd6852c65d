"""Files that are no saved reference, or one of another version."""

from pathlib import Path

import numpy as np
import pytest

from mollax.auditing.saved import is_saved, load_saved


def test_other_files_are_none(tmp_path):
    np.savez(tmp_path / "set.npz", images=np.zeros((2, 2, 2), np.uint8))
    (tmp_path / "damaged.npz").write_bytes(b"PK nothing")
    assert not is_saved(str(tmp_path / "set.npz"))
    assert not is_saved(str(tmp_path / "damaged.npz"))
    assert not is_saved(str(tmp_path))


def test_another_version_is_refused(tmp_path):
    np.savez(tmp_path / "kept.npz", mollax_reference=np.int32(99))
    with pytest.raises(ValueError, match="saved by another version of mollax"):
        load_saved(Path(tmp_path / "kept.npz"))

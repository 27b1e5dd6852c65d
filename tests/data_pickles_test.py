"""The pickle interpreter: agrees with pickle.loads on plain data of every protocol, and runs nothing."""

import collections
import os
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mollax.data.pickles import RefusedPickle, read_plain_pickle

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), PLAIN), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_plain_data_come_back(data, protocol):
    assert read_plain_pickle(pickle.dumps(data, protocol), name="f") == data


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("dtype", ["u1", "<i8", ">i4", "<f4", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_come_back(rng, protocol, dtype, order):
    array = np.asarray(rng.integers(0, 100, (3, 4)).astype(dtype), order=order)
    found = read_plain_pickle(pickle.dumps({b"data": array, "n": [1, 2]}, protocol), name="f")
    np.testing.assert_array_equal(found["data"], array)
    assert found["data"].dtype == array.dtype
    assert found["n"] == [1, 2]


def test_python_2_and_old_numpy_names():
    # As written by Python 2 for {'data': uint8 [[1, 2]], 'labels': [7]}: byte strings, numpy.core, BINPUT.
    data = (
        b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85"
        b"U\x01b\x87Rq\x05(K\x01K\x01K\x02\x86cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87Rq\x07(K\x03U\x01|NNNJ\xff\xff"
        b"\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x02\x01\x02tbU\x06labelsq\x08]q\x09K\x07au."
    )
    found = read_plain_pickle(data, name="f")
    assert found["data"].tolist() == [[1, 2]]
    assert found["labels"] == [7]
    assert pickle.loads(data)["labels"] == [7]  # the bytes above are a pickle that Python reads too


class Evil:
    """Asks for a command to be run when it is loaded."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("protocol", range(6))
def test_a_command_is_refused_and_not_run(tmp_path, protocol):
    witness = tmp_path / "ran"
    data = pickle.dumps({"labels": [1], "data": Evil(f"touch {witness}")}, protocol)
    with pytest.raises(RefusedPickle, match=r"f is refused: it asks for (posix|nt).system.*nothing .* executed"):
        read_plain_pickle(data, name="f")
    assert not witness.exists()
    pickle.loads(data)  # the same bytes do run a command where pickle.load is used
    assert witness.exists()


@pytest.mark.parametrize(
    "data, message",
    [
        (pickle.dumps({"a": collections.OrderedDict()}), "asks for collections.OrderedDict"),
        (pickle.dumps({"a": eval}), "asks for builtins.eval"),
        (pickle.dumps({"a": np.array([{}, 1], object)}), "an array of type 'O8', not of numbers"),
        (pickle.dumps({"a": np.array(["x"])}), "an array of type 'U1', not of numbers"),
        (pickle.dumps({"a": np.float32(1)}), "asks for numpy.*scalar"),
        (b"\x80\x02cnumpy\nndarray\n(K\x01tR.", "calls something that is not a NumPy array"),
        (b"(inumpy\nndarray\n.", "uses the instruction INST"),
        (b"\x80\x02}cnumpy\ndtype\n\x81.", "uses the instruction NEWOBJ"),
        (b"\x80\x02}}b.", "sets the state"),
    ],
)
def test_everything_else_is_refused_by_name(data, message):
    with pytest.raises(RefusedPickle, match=message):
        read_plain_pickle(data, name="f")


@pytest.mark.parametrize(
    "data, message",
    [
        (b"", "f is not a readable pickle"),
        (pickle.dumps({"a": [1, 2]})[:-3], "f is not a readable pickle"),
        (b"PK\x03\x04 a zip file", "f is not a readable pickle"),
        (b"\x80\x02a.", "f is not a readable pickle"),
        (b"\x80\x02h\x07.", "f is not a readable pickle"),
        (pickle.dumps([1]), "f holds a list; expected a dictionary"),
    ],
)
def test_damage(data, message):
    with pytest.raises(ValueError, match=message):
        read_plain_pickle(data, name="f")


def test_an_array_that_lies_about_its_size():
    data = pickle.dumps({"a": np.zeros((2, 3), np.uint8)}, 2)
    assert data.count(b"K\x02K\x03") == 1
    with pytest.raises(ValueError, match=r"array of shape \(2, 99\) does not fit its data"):
        read_plain_pickle(data.replace(b"K\x02K\x03", b"K\x02K\x63"), name="f")

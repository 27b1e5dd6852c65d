"""The predict command: its rows against the served run, bad files, zips, formats, and mistakes by message."""

import csv
import io
import json
import math
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import served_run
from PIL import Image

from mollax import predict, serving

SCORES = ("msp", "knn:k=3", "drift")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return served_run.write(tmp_path_factory.mktemp("run"), scores=SCORES)


@pytest.fixture(scope="module")
def outputs(workdir):
    """What the run says of the first 40 digits."""
    return serving.Server(serving.open_service(workdir), batch_size=40)(served_run.digits(40)[0])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """40 digits as files, 20 bad ones among them, a note and a hidden file."""
    top = tmp_path_factory.mktemp("images")
    (top / "more").mkdir()
    for number, image in enumerate(served_run.digits(40)[0]):
        Image.fromarray(image[..., 0]).save(top / ("more" if number % 2 else "") / f"{number:02}.png")
    whole = (top / "00.png").read_bytes()
    for number in range(20):
        content = (b"", b"no image", whole[:50], b"\x89PNG\r\n\x1a\n")[number % 4]
        (top / ("more" if number % 3 else "") / f"bad_{number:02}.png").write_bytes(content)
    (top / "notes.txt").write_text("x")
    (top / ".hidden.png").write_bytes(b"")
    return top


def run(*arguments):
    """The exit code."""
    try:
        predict.main([str(argument) for argument in arguments])
    except SystemExit as stopped:
        return stopped.code
    return 0


def number_of(row):
    return int(os.path.basename(row["file"])[:2])


def test_bad_files_among_good_ones_are_told_and_skipped(workdir, folder, outputs, capsys, tmp_path):
    out = tmp_path / "rows.csv"
    assert run(f"--workdir={workdir}", folder, f"--out={out}", "--batch-size=16", "--top=3") == 4
    captured = capsys.readouterr()
    assert captured.out == ""
    told = [line for line in captured.err.splitlines() if line.startswith("skipped ")]
    assert len(told) == 20
    for reason in ("the file is empty", "not a readable JPEG", "truncated or damaged"):
        assert reason in captured.err
    assert "1 files that are not images passed over" in captured.err
    assert "40 images predicted, 20 of 60 files skipped" in captured.err
    assert "in or out by knn:k=3" in captured.err
    assert [file.name for file in tmp_path.iterdir()] == ["rows.csv"], "and no draft"
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    assert list(rows[0]) == [
        *("file", "label", "probability", "flag", "flag_score", *SCORES),
        *("label_2", "probability_2", "label_3", "probability_3"),
    ]
    assert [row["file"] for row in rows] == sorted(row["file"] for row in rows)
    assert sorted(map(number_of, rows)) == list(range(40))
    assert {row["flag"] for row in rows} == {"in", "out"}
    for row in rows:
        number = number_of(row)
        order = np.argsort(-outputs["probabilities"][number])
        names = [served_run.NAMES[place] for place in order]
        assert [row["label"], row["label_2"], row["label_3"]] == names[:3]
        values = [float(row[name]) for name in ("probability", "probability_2", "probability_3")]
        np.testing.assert_allclose(values, outputs["probabilities"][number][order[:3]], atol=1e-6)
        for score in SCORES:
            np.testing.assert_allclose(float(row[score]), outputs["scores"][score][number], rtol=1e-5, atol=1e-6)
        assert (row["flag"], row["flag_score"]) == ("in" if outputs["inside"][number] else "out", "knn:k=3")


def test_zips_and_files_in_the_order_given_as_json(workdir, folder, outputs, capsys, tmp_path):
    archive, odd = tmp_path / "pictures.zip", tmp_path / "photo.dat"
    with zipfile.ZipFile(archive, "w") as file:
        for name in ("b/02.png", "a.png"):
            file.write(folder / "02.png", name)
    with Image.open(folder / "more" / "01.png") as image:
        image.convert("RGB").save(odd, format="PNG")
    large = tmp_path / "large.png"
    Image.new("L", (20, 20)).save(large)
    assert run(f"--workdir={workdir}", odd, archive, folder / "00.png", large, "--format=json", "--score=msp") == 0
    captured = capsys.readouterr()
    rows = [json.loads(line) for line in captured.out.splitlines()]
    assert [row["file"] for row in rows] == [
        *(str(odd), f"{archive}/a.png", f"{archive}/b/02.png", str(folder / "00.png"), str(large)),
    ]
    assert rows[1] == {**rows[2], "file": rows[1]["file"]}
    assert list(rows[0]) == ["file", "label", "probability", "flag", "flag_score", "scores"]
    assert list(rows[0]["scores"]) == list(SCORES)
    assert rows[0]["flag_score"] == "msp"
    for row, number in zip(rows[:4], (1, 2, 2, 0), strict=True):
        assert row["label"] == served_run.NAMES[outputs["label"][number]]
        assert row["probability"] == pytest.approx(outputs["probability"][number], abs=1e-5)
    assert "1 color image reduced to gray (luminance)" in captured.err
    assert "1 image resized to 8x8 (stretch)" in captured.err


def test_a_pipe_gets_its_rows_a_batch_at_a_time(workdir, folder):
    lines = []  # that the reader has, after each flush

    class Pipe(io.StringIO):
        def flush(self):
            lines.append(self.getvalue().count("\n"))

    service, found = (
        serving.open_service(workdir),
        predict.find_images([folder / f"{n:02}.png" for n in range(0, 20, 2)]),
    )
    with predict.Terminal(enabled=False) as terminal:
        predict.predict_files(service, found, Pipe(), style="csv", top=1, batch_size=4, terminal=terminal)
    assert lines[:3] == [5, 9, 11]


def test_a_run_without_scores_says_so(folder, capsys, tmp_path):
    workdir = served_run.write(tmp_path / "run", scores=())
    assert run(f"--workdir={workdir}", folder / "00.png") == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines()[0] == "file,label,probability"
    assert "has stored no OOD scores: labels and probabilities only" in captured.err
    assert run(f"--workdir={workdir}", folder / "00.png", "--score=knn") == 2
    assert "has stored no OOD scores, so 'knn' cannot be had" in capsys.readouterr().err


def test_mistakes_are_one_line(workdir, folder, capsys, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.zip").write_bytes(b"PK")
    (tmp_path / "bad.png").write_bytes(b"PK")
    good, whole = f"--workdir={workdir}", folder / "00.png"
    for code, arguments, message in (
        (2, (f"--workdir={tmp_path}", whole), "There is no config.json in"),
        (2, (good, tmp_path / "empty"), "holds no images. Images end in .jpg"),
        (2, (good, tmp_path / "nothing"), "nothing does not exist"),
        (2, (good, tmp_path / "bad.zip"), "is not a readable zip"),
        (2, (good, whole, "--score=knm"), "score must be one of 'msp', 'knn:k=3', 'drift'; got 'knm'"),
        (2, (good, whole, "--top=11"), "--top must be in [1, 10]; got 11"),
        (2, (good, whole, "--batch-size=0"), "--batch-size must be at least 1"),
        (2, (good, whole, f"--out={tmp_path}"), "is a folder. Give --out the name of a file"),
        (2, (good, whole, f"--out={tmp_path / 'no' / 'x.csv'}"), "There is no folder"),
        (2, (good, whole, "--format=xml"), "invalid choice: 'xml'"),
        (1, (good, tmp_path / "bad.png"), "none of 1 files could be read"),
    ):
        assert run(*arguments) == code, message
        assert message in capsys.readouterr().err


def test_nothing_is_left_of_a_failure(workdir, tmp_path, capsys):
    (tmp_path / "bad.png").write_bytes(b"x")
    assert run(f"--workdir={workdir}", tmp_path / "bad.png", f"--out={tmp_path / 'rows.csv'}") == 1
    assert [file.name for file in tmp_path.iterdir()] == ["bad.png"]
    assert "not a readable" in capsys.readouterr().err


def test_numbers_are_as_short_as_they_are_exact():
    assert predict._plain(np.float32(0.1)) == 0.1
    assert predict._plain(np.float32(math.inf)) is None


def test_names_that_are_no_text_go_out_as_they_are(tmp_path):
    out = tmp_path / "rows"
    with predict._opened(out) as file:
        file.write(os.fsdecode(b"\xff.png"))
    assert out.read_bytes() == b"\xff.png"


@pytest.mark.slow
def test_twenty_bad_files_among_a_thousand(workdir, tmp_path, capsys):
    images, _ = served_run.digits(1000)
    for number, image in enumerate(images):
        Image.fromarray(image[..., 0]).save(tmp_path / f"{number:04}.png")
    for number in range(20):
        (tmp_path / f"{50 * number:04}_bad.png").write_bytes(b"no image")
    assert run(f"--workdir={workdir}", tmp_path, "--batch-size=128") == 4
    captured = capsys.readouterr()
    assert captured.err.count("skipped ") == 20
    rows = list(csv.DictReader(io.StringIO(captured.out)))
    assert [os.path.basename(row["file"]) for row in rows] == [f"{number:04}.png" for number in range(1000)]
    whole = serving.Server(serving.open_service(workdir), batch_size=1000)(images)
    np.testing.assert_allclose([float(row["probability"]) for row in rows], whole["probability"], atol=1e-6)
    assert [row["flag"] == "in" for row in rows] == whole["inside"].tolist()


@pytest.mark.slow
def test_a_reader_that_goes_away_is_no_failure(workdir, folder):
    command = [sys.executable, "-m", "mollax.predict", f"--workdir={workdir}", *[str(folder / "00.png")] * 3000]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout.readline().startswith("file,label")
    child.stdout.close()
    assert child.wait() == 141
    assert "Traceback" not in child.stderr.read()
    child.stderr.close()

"""A finished run at work on image files: the exported artifact without mollax against the run, and bad files.

    python benchmarks/served.py --workdir=runs/cifar10 --data=cifar10.zip --within=/test/ \
        --out docs/results/served_cifar10.json

1,000 images, evenly spread over the files of --data whose names hold --within, go three ways: through `serving.serve`
in this process, as `mollax.predict` calls it; through the exported artifact in a process that can import nothing but
JAX, what JAX needs, and flatbuffers; and as files, 20 bad ones among them, through `python -m mollax.predict`.
Differences of scores are given as they are and in standard deviations of the score over these images. Images a second
are of the best round, in batches of 256, without decoding or compilation.
"""

from __future__ import annotations

import argparse
import csv
import importlib.metadata
import io
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import common
import numpy as np
from PIL import Image

from mollax import export, predict, serving
from mollax.data.stream import Found, decode_batches, find_images

COUNT, BAD, BATCH = 1000, 20, 256
TINY = 40
# JAX itself imports these.
ALLOWED = ("jax", "jaxlib", "numpy", "scipy", "ml_dtypes", "opt_einsum", "flatbuffers")
ALONE = """
import sys
allowed = set(sys.argv.pop(1).split(",")) | set(sys.stdlib_module_names) | {"load"}
class Only:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        known = name.partition(".")[0] in allowed or name.startswith("_sysconfigdata")
        return self.finder.find_spec(name, path, target) if known else None
sys.meta_path[:] = [Only(finder) for finder in sys.meta_path]
import json, time
began = time.perf_counter()
folder, images, out, rounds = sys.argv[1:]
sys.path.insert(0, folder)
import numpy, load
model, images = load.load(), numpy.load(images)
outputs, first = model(images), time.perf_counter() - began
seconds = []
for _ in range(int(rounds)):
    began = time.perf_counter()
    model(images)
    seconds.append(time.perf_counter() - began)
named = {f"scores/{name}": values for name, values in outputs.pop("scores").items()}
numpy.savez(out, **outputs, **named)
tops = {name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names)
print(json.dumps({"seconds": seconds, "first": first, "modules": sorted(name for name in tops if name in allowed)}))
"""


def read(service: serving.Service, data: Path, within: str, count: int) -> tuple[list[Found], np.ndarray]:
    """Files evenly spread over those whose names hold `within`, and their images."""
    files = [one for one in find_images([data]) if within in one.name]
    if len(files) < count:
        raise SystemExit(f"{data} holds {len(files)} images with {within!r} in their names; {count} are needed.")
    chosen = [files[place] for place in np.linspace(0, len(files) - 1, count).astype(int)]
    images = []
    for batch in decode_batches(chosen, predict.read_options(service), size=BATCH):
        for one, result in batch:
            if isinstance(result, str):
                raise SystemExit(f"{one.name}: {result}")
            images.append(result[0])
    return chosen, np.stack(images)


def flat(outputs: serving.Outputs) -> dict[str, np.ndarray]:
    """Outputs by name, scores as "scores/NAME"."""
    scores = {f"scores/{name}": values for name, values in outputs["scores"].items()}
    return {name: values for name, values in outputs.items() if name != "scores"} | scores


def in_process(service: serving.Service, images: np.ndarray, rounds: int) -> tuple[dict[str, np.ndarray], list[float]]:
    """The outputs of the run itself, and the seconds of each round."""
    server = serving.Server(service, batch_size=BATCH)

    def all_images() -> dict[str, np.ndarray]:
        parts = [flat(server(images[low : low + BATCH])) for low in range(0, len(images), BATCH)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    outputs, seconds = all_images(), []
    for _ in range(rounds):
        began = time.perf_counter()
        all_images()
        seconds.append(time.perf_counter() - began)
    return outputs, seconds


def alone(folder: Path, images: np.ndarray, rounds: int, top: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The outputs of the artifact in a process without mollax, and what that process says of itself."""
    np.save(top / "images.npy", images)
    arguments = [",".join(ALLOWED), folder, top / "images.npy", top / "outputs.npz", rounds]
    command = [sys.executable, "-I", "-c", ALONE, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"The artifact failed without mollax:\n{done.stderr}")
    with np.load(top / "outputs.npz") as file:
        return dict(file), json.loads(done.stdout.splitlines()[-1])


def differences(mine: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> dict[str, Any]:
    """The largest difference of every output; of labels and flags how many differ."""
    if mine.keys() != theirs.keys():
        raise SystemExit(f"The artifact gives {sorted(theirs)}, the run {sorted(mine)}.")
    found: dict[str, Any] = {}
    for name, values in mine.items():
        if values.dtype.kind != "f":
            found[name] = {"differ": int((values != theirs[name]).sum())}
            continue
        largest = float(np.abs(values.astype(np.float64) - theirs[name]).max())
        found[name] = {"largest": largest}
        if name.startswith("scores/"):
            spread = float(values.astype(np.float64).std())
            found[name] |= {"spread": spread, "in_spreads": largest / spread}
    return found


def bad_files(whole: bytes, count: int) -> dict[str, bytes]:
    """Files that end in .jpg and are none, by kind: cut off, empty, text, a format that is not read."""
    icon = io.BytesIO()
    Image.new("RGB", (16, 16)).save(icon, "ICO")
    kinds = {
        "truncated": whole[: len(whole) * 9 // 10],
        "empty": b"",
        "text": b"This is no image.\n",
        "other_format": icon.getvalue(),
    }
    names = [list(kinds)[number % len(kinds)] for number in range(count)]
    return {f"{number:04}_{name}.jpg": kinds[name] for number, name in enumerate(names)}


def as_files(
    workdir: Path, service: serving.Service, files: list[Found], expected: dict[str, np.ndarray], top: Path
) -> dict[str, Any]:
    """What `python -m mollax.predict` makes of a folder of good and bad files, beside what the run says."""
    folder = top / "files"
    folder.mkdir()
    for number, one in enumerate(files):
        with one.files.open(one.key) as file:
            (folder / f"{number:04}{Path(one.name).suffix}").write_bytes(file.read())
    whole = (folder / f"0000{Path(files[0].name).suffix}").read_bytes()
    bad = bad_files(whole, BAD)
    for name, content in bad.items():
        (folder / name).write_bytes(content)
    command = [sys.executable, "-m", "mollax.predict", f"--workdir={workdir}", str(folder), f"--out={top / 'rows.csv'}"]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    told = [line.removeprefix(f"skipped {folder}/") for line in done.stderr.splitlines() if line.startswith("skipped ")]
    rows = list(csv.DictReader((top / "rows.csv").read_text(encoding="utf-8").splitlines()))
    if [Path(row["file"]).stem for row in rows] != [f"{number:04}" for number in range(len(files))]:
        raise SystemExit("The rows are not those of the good files in their order.")
    names = service.class_names
    probability = np.array([float(row["probability"]) for row in rows])
    flags = [row["flag"] == "in" for row in rows] if service.flag_score else []
    return {
        "what": "python -m mollax.predict",
        "good": len(files),
        "bad": dict(Counter(name.partition("_")[2].removesuffix(".jpg") for name in bad)),
        "exit_code": done.returncode,
        "rows": len(rows),
        "skipped": len(told),
        "skipped_are_the_bad_ones": sorted(line.partition(":")[0] for line in told) == sorted(bad),
        "reasons": dict(Counter(line.partition(": ")[2] for line in told)),
        "labels_differ": sum(row["label"] != names[label] for row, label in zip(rows, expected["label"], strict=True)),
        "flags_differ": int((np.array(flags) != expected["inside"]).sum()) if flags else None,
        "probability_largest": float(np.abs(probability - expected["probability"]).max()),
        "seconds": round(seconds, 2),
    }


def run_of(service: serving.Service, files: list[Found], labels: np.ndarray) -> dict[str, Any]:
    """What is served, and how often it is right where folders are named as classes."""
    results, names = service.run.results, service.class_names
    truth = [Path(one.name).parent.name for one in files]
    right = [name == names[label] for name, label in zip(truth, labels, strict=True)]
    return {
        "name": results["name"],
        "model": service.run.config.model.name,
        "scores": list(service.states),
        "flag_score": service.flag_score or None,
        "images": len(files),
        "accuracy": float(np.mean(right)) if set(truth) <= set(names) else None,
    }


def main() -> None:
    """Exports the run, then one block for agreement, one for speed and one for files."""

    def more(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--workdir", type=Path, required=True, help="folder of a finished run")
        parser.add_argument("--data", type=Path, required=True, help="zip or folder of images that it can be asked")
        parser.add_argument("--within", default="", help="take files whose names hold this, such as /test/")

    options = common.arguments(__doc__, more=more)
    record = common.start(options, peer=False, packages=("flatbuffers", "orbax-checkpoint"))
    record["command"] = f"python benchmarks/served.py --workdir=RUN --data=ZIP --within={options.within}"
    service = serving.open_service(options.workdir)
    files, images = read(service, options.data, options.within, TINY if options.tiny else COUNT)
    expected, seconds = in_process(service, images, options.rounds)
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        began = time.perf_counter()
        metadata = export.write(top / "exported", service)
        exporting = time.perf_counter() - began
        found, about = alone(top / "exported", images, options.rounds, top)
        of_files = as_files(options.workdir.absolute(), service, files, expected, top)
    record["run"] = run_of(service, files, expected["label"])
    record["results"] = [
        {
            "what": "artifact without mollax against serving.serve",
            "mebibytes": round(metadata["bytes"] / 2**20, 2),
            "platforms": metadata["platforms"],
            "left_out": metadata["left_out"],
            "modules": {name: importlib.metadata.version(name) for name in about["modules"] if name != "load"},
            "largest_differences": differences(expected, found),
        },
        {
            "what": "images a second",
            "batch": BATCH,
            "serving": round(len(images) / min(seconds), 1),
            "artifact": round(len(images) / min(about["seconds"]), 1),
            "rounds_s": {"serving": seconds, "artifact": about["seconds"]},
            "seconds_to_export": round(exporting, 2),
            "seconds_of_the_artifact_from_import_to_the_first_outputs": round(about["first"], 2),
        },
        of_files,
    ]
    print(json.dumps(record["results"], indent=1))
    common.finish(record, options)


if __name__ == "__main__":
    main()

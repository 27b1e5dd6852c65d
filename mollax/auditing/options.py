"""Options that contradict each other, or that an audit would drop: each is an error that says what to do instead."""

from __future__ import annotations

from collections.abc import Mapping

from mollax.auditing import kernels
from mollax.auditing.reference import Reference
from mollax.auditing.settings import Settings
from mollax.auditing.space import Features, Space


def check_sides(settings: Settings) -> None:
    """Raises ValueError unless something names the reference, and its options belong to it."""
    if not settings.reference and settings.workdir is None:
        raise ValueError("Name training images by --reference, or a run by --workdir, whose data they then are.")
    if not settings.reference:
        _refuse(
            {
                "--reader": settings.reader,
                "--split": settings.split,
                "--name": settings.name,
                "--held-out": settings.held_out,
            },
            "is for images that --reference names; without it the run's own training and validation split are taken",
        )
    if settings.held_out and settings.held_out_share is not None:
        raise ValueError("Give either --held-out, or --held-out-share to cut a part from the reference.")


def check_run_data(settings: Settings) -> None:
    """Raises ValueError for options that the run's own data leave no room for."""
    _refuse(
        {
            "--groups": settings.groups or None,
            "--held-out-share": settings.held_out_share,
            "--reader": settings.reader,
            "--name": settings.name,
        },
        "does not go with the run's own data, which are read as in training and bring a validation split as the "
        "held-out part. Leave it out, or name images of a path or --split of your own by --reference",
    )


def check_strength(settings: Settings, kernel: str) -> None:
    """Raises ValueError if --theta-from is to choose a strength that --kernel already names."""
    given = next(iter(kernels.parse(kernel)[1].values()))
    if settings.theta_from and given is not None:
        raise ValueError(
            f"--theta-from chooses the strength that --kernel={kernel} already gives; leave one of them out."
        )


def saved_kernel(settings: Settings, reference: Reference) -> str:
    """The saved kernel with its strength, unless another one is asked for, or its strength is to be chosen."""
    name, _, rest = settings.kernel.partition(":")
    if name and (rest or kernels.without_strength(*kernels.parse(name)) != reference.kernel):
        return settings.kernel
    if settings.theta_from:
        return reference.kernel
    name, known = kernels.parse(reference.kernel)
    known |= {next(iter(known)): reference.strength}
    return f"{name}:" + ",".join(f"{key}={value!r}" for key, value in known.items())


def check_saved(settings: Settings, reference: Reference, kind: str, features: Features | None, space: Space) -> None:
    """Raises ValueError where a saved reference does not go with the other options."""
    path, shape, jpeg = settings.reference, reference.form.shape, reference.form.jpeg_quality
    if kind != space.kind:
        wanted = "no --workdir" if kind == "pixels" else "--workdir=RUN"
        if kind == "features" and features is not None:
            wanted = "--kernel=gaussian"
        raise ValueError(f"{path} holds {kind}; give {wanted}, or save a reference of {space.kind}.")
    if features is not None and features.shape != shape:
        raise ValueError(f"{path} is for images of {shape}, the run in {settings.workdir} for {features.shape}.")
    if settings.size not in (0, shape[0]):
        raise ValueError(f"--size={settings.size}, but {path} holds images of {shape[0]} x {shape[1]}.")
    if settings.jpeg_quality >= 0 and settings.jpeg_quality != jpeg:
        stored = f"went through JPEG of quality {jpeg}" if jpeg else "went through no JPEG"
        raise ValueError(f"--jpeg-quality={settings.jpeg_quality}, but the images of {path} {stored}. Leave it out.")
    if settings.held_out:
        raise ValueError("A saved reference has a held-out part of its own; leave --held-out out.")
    _refuse(
        {
            "--held-out-share": settings.held_out_share,
            "--groups": settings.groups or None if reference.held.groups is None else None,
            "--reader": settings.reader,
            "--split": settings.split,
            "--name": settings.name,
        },
        "is for images that are read; the reference was saved with what it then was. Leave it out, or save it again",
    )


def _refuse(given: Mapping[str, object], reason: str) -> None:
    """Raises ValueError at the first option that is given."""
    for name, value in given.items():
        if value not in (None, ""):
            raise ValueError(f"{name}={value} {reason}.")

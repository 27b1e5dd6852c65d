"""What matters in mollification (figure 6): a grid for `python -m mollax.sweep`, around the default "FCR + mollified".

Words: `roles` (noise or blur alone), `beta` (temperatures), `powers` (slopes k of eq 12 and 13), `labels` (tempering,
no smoothing); none for all of them. In the folder of a sweep over `policies.py` the default is there already.
"""

DEFAULT = {"FCR + mollified": {}}
ROLES = {
    "noise alone": {"mollify.roles": ("none", "noise")},
    "blur alone": {"mollify.roles": ("none", "blur")},
}
BETA = {f"Beta(1, {beta})": {"mollify.beta": float(beta)} for beta in (4, 9)}
POWERS = {
    f"k noise {noise}, blur {blur}": {"mollify.noise_power": noise, "mollify.blur_power": blur}
    for noise in (0.5, 1.0, 2.0)
    for blur in (0.5, 1.0, 2.0)
    if (noise, blur) != (1.0, 1.0)
}
LABELS = {
    "tempered labels": {"mollify.label_form": "temper"},
    "labels left alone": {"mollify.label_form": "none"},
}
PARTS = {"roles": ROLES, "beta": BETA, "powers": POWERS, "labels": LABELS}


def get_grid(word: str = "") -> dict:
    """{label: {field: value}}."""
    if word and word not in PARTS:
        raise ValueError(f"ablations.py knows the words {', '.join(PARTS)}; got {word!r}.")
    chosen = [PARTS[word]] if word else list(PARTS.values())
    return DEFAULT | {label: fields for part in chosen for label, fields in part.items()}

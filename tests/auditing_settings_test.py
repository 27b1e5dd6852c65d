"""Settings are the command's options, by name and by default."""

from dataclasses import fields

from mollax import audit
from mollax.auditing import Settings


def test_they_are_the_commands_options():
    options = vars(audit._parser().parse_args(["--new=x", "--out=y"]))
    given = Settings(reference="", new="x")
    for field in fields(Settings):
        if field.name != "confidence":
            assert options[field.name] == getattr(given, field.name), field.name

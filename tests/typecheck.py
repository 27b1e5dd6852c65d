"""The run-time checker of annotations: beartype, with an int accepted where a float is asked for (as in PEP 484)."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))

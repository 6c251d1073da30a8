"""Shapes and dtypes that the annotations of ops and algorithms promise are checked while tests run.

Installed here, before any test or doctest imports what is checked."""

import sys
from types import ModuleType

from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

# The hook takes the name of a checker. This one lets an int stand for a float, as recipes do.
checker = ModuleType("rlft_type_checker")
checker.check = beartype(conf=BeartypeConf(is_pep484_tower=True))
sys.modules[checker.__name__] = checker
install_import_hook(["rlft.ops", "rlft.algorithms"], "rlft_type_checker.check")

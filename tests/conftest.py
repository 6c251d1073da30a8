"""What holds for every test: shapes and dtypes that ops and algorithms promise are checked, no example is timed.

The checks are installed here, before any test or doctest imports what is checked."""

import sys
from types import ModuleType

from beartype import BeartypeConf, beartype
from hypothesis import settings
from jaxtyping import install_import_hook

# The hook takes the name of a checker. This one lets an int stand for a float, as recipes do.
checker = ModuleType("rlft_type_checker")
checker.check = beartype(conf=BeartypeConf(is_pep484_tower=True))
sys.modules[checker.__name__] = checker
install_import_hook(["rlft.ops", "rlft.algorithms"], "rlft_type_checker.check")

# An example is not wrong for being slow: other work on the machine makes it so.
settings.register_profile("untimed", settings(), deadline=None)
settings.load_profile("untimed")

"""An explanation as a page, and on the terminal."""

from rlft.report.explained.page import page
from rlft.report.explained.terminal import show

__all__ = ["page", "show"]

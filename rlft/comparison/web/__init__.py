"""`compare.html`: a comparison as one page, from the verdict in words to the commands that repeat it."""

from rlft.comparison.web.page import page

__all__ = ["page"]

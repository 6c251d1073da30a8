"""Pages about runs: one HTML file each, without scripts, fonts or pictures from elsewhere."""

from rlft.report.page import write_report

__all__ = ["write_report"]

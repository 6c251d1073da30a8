"""What control groups leave of the memory: the limit of a container, of a batch job or of a user's session (Linux)."""

import math
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

OWN, ROOT = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
V2 = ("memory.max", "memory.current", "inactive_file")
"""Files of a group with its limit and what it has in use, and the line of memory.stat with the part of the latter that
is files read a while ago, which the kernel drops when memory is asked for."""


def memory_left(own: Path = OWN, root: Path = ROOT) -> float:
    """Returns the bytes this process may still take by its control groups, inf where none limits it.

    Args:
        own: the file that names the groups of this process. root: where they are mounted.
    """
    return min((_left(folder, *names) for folder, names in _groups(own, root)), default=math.inf)


def _groups(own: Path, root: Path) -> Iterator[tuple[Path, tuple[str, str, str]]]:
    """Yields this process's groups, of either version, with those above them, whose limits hold as well. In a container
    the path may be that on its host; then only the root is there, and is the container's own group."""
    for line in _read(own).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        mount, names = (root / "memory", V1) if controllers else (root, V2)
        place = PurePosixPath(path.lstrip("/"))
        for group in (place, *place.parents):
            yield mount / group, names


def _left(group: Path, limit: str, used: str, droppable: str) -> float:
    most, taken = _read(group / limit).strip(), _read(group / used).strip()
    if not (most.isdecimal() and taken.isdecimal()):  # "max", or no such file
        return math.inf
    stat = dict(line.split() for line in _read(group / "memory.stat").splitlines())
    return max(0, int(most) - int(taken) + int(stat.get(droppable, 0)))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""

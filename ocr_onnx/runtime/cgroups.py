"""The control groups of this process, whose limits for memory and CPU hold for it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, NamedTuple

PROCESS, GROUPS = Path("/proc/self"), Path("/sys/fs/cgroup")


class Group(NamedTuple):
    """A folder with the limits of a group."""

    folder: Path
    version: Literal[1, 2]


def groups_of(controller: Literal["cpu", "memory"], process: Path = PROCESS, groups: Path = GROUPS) -> list[Group]:
    """Return the groups of the process for a controller, from the innermost to the root; the limits of each of them hold.

    In a container, the paths of the host may not exist, but the root has the container's limits.
    """
    found = []
    for number, controllers, path in re.findall(r"^(\d+):([^:]*):(.*)$", read(process / "cgroup"), re.MULTILINE):
        inner = Path(path.lstrip("/"))
        if number == "0" and not controllers:
            found += [Group(groups / each, 2) for each in (inner, *inner.parents)]
        elif controller in controllers.split(","):
            found += [Group(groups / controller / each, 1) for each in (inner, *inner.parents)]
    return list(dict.fromkeys([*found, Group(groups, 2), Group(groups / controller, 1)]))


def read(file: Path) -> str:
    """Return the content of a file of the kernel; an empty string if it cannot be read."""
    try:
        return file.read_text("utf-8")
    except OSError:
        return ""

"""``flask guard …``: reads the command line and prints. The facts come from the stores."""

from __future__ import annotations

from flask.cli import AppGroup

from .keys import keys_group
from .limits import bans_group, limits_group

__all__ = ["guard_group"]

guard_group: AppGroup = AppGroup("guard", help="What guards this app.")
guard_group.add_command(keys_group)
guard_group.add_command(limits_group)
guard_group.add_command(bans_group)

"""``flask guard …``: reads the command line and prints. The facts come from the audit and the stores.

A command is imported when it is called, so that serving an app does not pay for the commands.
"""

from __future__ import annotations

from importlib import import_module

import click
from flask.cli import AppGroup

__all__ = ["guard_group"]

COMMANDS = {
    "audit": "audit:audit_command",
    "bans": "limits:bans_group",
    "check": "lock:check_command",
    "csp": "csp:csp_group",
    "explain": "explain:explain_command",
    "keys": "keys:keys_group",
    "limits": "limits:limits_group",
    "lock": "lock:lock_command",
    "report": "audit:report_command",
    "routes": "routes:routes_command",
}
"""Where each command is defined."""


class CommandGroup(AppGroup):
    """The commands of flask_guard, imported on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(f"{__name__}.{module}"), name)
        return command


guard_group: AppGroup = CommandGroup(
    "guard", help="Show, explain and check the protection of this app; manage keys and limits."
)

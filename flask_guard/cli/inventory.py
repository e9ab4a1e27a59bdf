"""The inventory of the app of a command."""

from __future__ import annotations

from ..audit.inventory import take_inventory
from ..core.facts import Inventory
from ..core.flask_versions import current_flask
from ..errors import ConfigError
from .common import Failure

MISCONFIGURED = 6


def inventory_of_app() -> Inventory:
    """Return the inventory of the app. A mistake that keeps the app from serving ends the command."""
    try:
        return take_inventory(current_flask())
    except ConfigError as error:
        raise misconfigured(error) from None


def misconfigured(error: ConfigError) -> Failure:
    """Return the end of a command for a mistake that keeps the app from serving."""
    return Failure(MISCONFIGURED, f"the app serves nothing until this is fixed: {error}")

"""An audit as one HTML page that loads nothing."""

from __future__ import annotations

import base64
import hashlib
from html import escape

from ..core.facts import Inventory
from .documents import place_of
from .findings import Audit

_STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid #8888; padding: .5rem; text-align: left; vertical-align: top; }
code { font-size: .9em; }
.error { border-left: .4rem solid #c62828; } .warning { border-left: .4rem solid #ef8f00; }
.info { border-left: .4rem solid #5c7cfa; }
@media print { body { margin: 0; } }
"""


def page(inventory: Inventory, audit: Audit) -> str:
    """Return the page."""
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    title = f"Audit of {escape(inventory.app.name)}"
    rows = "".join(_row(audit, number) for number in range(len(audit.findings)))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'sha256-{digest}'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p>{len(audit.findings)} findings on {len(inventory.entries)} endpoints, {len(audit.silenced)} accepted in the code.</p>
<table>
<thead><tr><th scope="col">Rule</th><th scope="col">Finding</th><th scope="col">What to write</th></tr></thead>
<tbody>
{rows}</tbody>
</table>
</main>
</body>
</html>
"""


def _row(audit: Audit, number: int) -> str:
    finding = audit.findings[number]
    rule, (file, line) = finding.rule, place_of(finding)
    place = f"<br><code>{escape(file)}:{line}</code>" if file is not None else ""
    return (
        f'<tr class="{rule.severity}"><td>{rule.id}<br>{rule.severity}</td>'
        f"<td><strong>{escape(rule.title)}</strong><br>{escape(finding.message)}{place}</td>"
        f"<td>{escape(rule.fix)}<br>{escape(', '.join(rule.references))}</td></tr>\n"
    )

"""The life of an API key: created, scoped, limited, rotated and revoked.

The example needs the extra `sql`: ``pip install '.[sql]'``.

Create a key. Its secret is shown once, and only its hash is stored, in a SQLite file in the app's instance folder::

    flask --app examples.keys guard keys create --name shop --scope orders:read
    export ID=…  KEY=…                              # the id and the secret that the command has printed
    flask --app examples.keys run

Use it, from another terminal::

    curl -i http://127.0.0.1:5000/orders                                     # 401: no key
    curl -i http://127.0.0.1:5000/orders -H "Authorization: Bearer $KEY"     # 200
    curl -i http://127.0.0.1:5000/orders -H "Authorization: Bearer $KEY" --json '{"item": "tea"}'    # 403: its scopes

Rotate the key, with a day in which both secrets are valid. Then revoke it: a running server knows in five seconds::

    flask --app examples.keys guard keys rotate $ID --overlap 24h
    printf %s "$KEY" | flask --app examples.keys guard keys verify           # valid, until tomorrow
    flask --app examples.keys guard keys revoke $ID
    printf %s "$KEY" | flask --app examples.keys guard keys verify           # not valid
    flask --app examples.keys guard keys list

``export FLASK_SCANNER_KEYS='{"ID": "-----BEGIN PUBLIC KEY-----…"}'`` lets a secret scanner post leaked keys to
``/leaked-keys``, signed as GitHub signs them.
"""

from typing import Any

from flask import Blueprint, Flask, request

from flask_guard import Guard, current_api_key, limit, log_timing, protect, require_api_key, secure_headers
from flask_guard.keys import SQLKeys, leak_report

app = Flask(__name__)
app.config.from_prefixed_env()  # FLASK_SCANNER_KEYS becomes SCANNER_KEYS
Guard(app, keys=SQLKeys(), policies=[log_timing, secure_headers("api")])

orders = Blueprint("orders", __name__, url_prefix="/orders")
protect(orders, require_api_key(scopes="orders:read"), limit("100/minute", by="api_key"))


@orders.get("")
def list_orders() -> dict[str, Any]:
    return {"orders": ["tea", "coffee"], "for": current_api_key.name}


@orders.post("")
@require_api_key(scopes="orders:write")
@limit("10/minute", by="api_key")
def create_order() -> tuple[dict[str, Any], int]:
    return {"created": request.get_json()["item"], "by": current_api_key.id}, 201


app.register_blueprint(orders)

if "SCANNER_KEYS" in app.config:
    app.register_blueprint(leak_report(public_keys=app.config["SCANNER_KEYS"]))

"""The app of every worker of the fleet."""

import os

from flask import Flask

from flask_guard import Guard, limit

from . import LIMIT

app = Flask(__name__)
app.config.from_prefixed_env()  # FLASK_RATELIMIT_STORAGE_URI sets the storage of the limits
Guard(app)


@app.get("/")
@limit(f"{LIMIT}/minute")
def index() -> dict[str, int]:
    return {"worker": os.getpid()}


@app.get("/health")
@limit("100/second")  # counted in the same storage, with a separate budget
def health() -> dict[str, str]:
    return {"status": "ok"}

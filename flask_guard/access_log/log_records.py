"""Log records with fixed text and many fields, made fast.

A :class:`logging.LogRecord` works out its caller's file and module, its process and more, each time. All of that is the
same for every record of one policy, so it is taken from a record that the standard library made once.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import Any


class Records:
    """Makes the records of one logger with one message.

    :param message: formatted with the fields, ``%(name)s``, by whoever formats at all.
    """

    def __init__(self, logger: str, message: str) -> None:
        self._logger = logger
        self._message = message
        self._templates: dict[int, dict[str, Any]] = {}

    def make(self, level: int, fields: dict[str, Any]) -> logging.LogRecord:
        """Return a record with `fields` as attributes. A factory that the application has set is used."""
        if logging.getLogRecordFactory() is not logging.LogRecord:
            record = self._standard(level, fields)
            record.__dict__.update(fields)
            return record
        template = self._templates.get(level)
        process = os.getpid()
        if template is None or template["process"] != process:  # a forked worker has a process of its own
            template = self._templates[level] = dict(self._standard(level, {}).__dict__)
        now = time.time()
        thread = threading.current_thread()
        attributes = template.copy()
        attributes["args"] = fields
        attributes["created"] = now
        attributes["msecs"] = int(now % 1 * 1000) + 0.0
        attributes["relativeCreated"] = template["relativeCreated"] + (now - template["created"]) * 1000
        attributes["thread"] = thread.ident
        attributes["threadName"] = thread.name
        attributes.update(fields)
        record = logging.LogRecord.__new__(logging.LogRecord)
        record.__dict__ = attributes
        return record

    def _standard(self, level: int, fields: dict[str, Any]) -> logging.LogRecord:
        make = logging.getLogRecordFactory()
        return make(self._logger, level, __file__, 0, self._message, (fields,), None, "log_timing")

"""Facts about the protection of an app: the inventory, explanations, findings, and the lock file.

Everything here reads the plans that requests run. The command line (:mod:`flask_guard.cli`) parses and prints.
"""

"""The general rules of the audit. Each concern has its own rules in its ``audit`` module."""

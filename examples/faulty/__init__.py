"""An app with seven deliberate faults, and what the audit finds."""

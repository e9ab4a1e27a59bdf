"""An app with seven deliberate faults, which the audit finds."""

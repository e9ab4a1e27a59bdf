"""The report: one HTML page that loads nothing, with every route, its policies, and the findings of the audit."""

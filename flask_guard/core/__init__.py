"""How any policy works: what one is, how it is applied, and the plan that requests run. Knows no concern."""

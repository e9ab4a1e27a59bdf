"""The core: the idea of a policy, its application, and the plan that requests run. It knows no concern."""

"""Where pods go: every order of arrival, drains, claims, and why there is no place."""

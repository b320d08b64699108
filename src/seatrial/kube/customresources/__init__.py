"""Custom resources: what a CustomResourceDefinition may say, and what it makes of objects of its kind.

Pure and without a cluster, so that the API serves by it and the checker reads files by it: `rules` accept definitions,
`definitions` read them, `shape` prunes and defaults, `validation` and `invariants` say what is wrong, `columns` show.
"""

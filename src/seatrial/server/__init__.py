"""The Kubernetes API of one cluster: semantics (`api`), storage (`store`), sockets (`http`), certificates (`pki`).

Import what is needed from these modules; importing the package itself loads nothing.
"""

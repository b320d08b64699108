"""The columns that `kubectl get` shows of each kind, as upstream's printers have them."""

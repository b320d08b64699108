"""What kube-apiserver takes and refuses, document by document, recorded, against the API here.

    python -m tests.conformance.validation live [--cases N] [--seed N]   ask upstream now and compare
    python -m tests.conformance.validation record                        keep what it said under recordings/
    python -m tests.conformance.validation replay [--step N]             compare with the recording; needs no upstream

A case is a good object (`objects.yaml`), mutated: fields gone, empty, of the wrong type, out of range, too long,
unknown, written twice, copied from elsewhere (`cases.py`). It is created for trial, or
replaces the good object for trial.
"""

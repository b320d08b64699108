// Lets the package declare functions without bodies: they are upstream's, by go:linkname.

"""One module for each kind of history: `WATCHED`, the kinds of objects to look at, and `script(random)`, its commands.

`QUIET_S`, where a module has it, is how long nothing may happen before a step counts as over.
"""

"""The roof: the `ocs` command, and the only place where objects are built and processes begin."""

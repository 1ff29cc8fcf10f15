"""OCI runtimes: crun, runc, and others that speak their command line."""

"""From a container's record to the OCI runtime configuration (runtime-spec, config.md). No side effects."""

"""The Container Runtime Interface, which the kubelet speaks: calls read, one method of the engine called, answered."""

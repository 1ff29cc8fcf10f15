"""The zygote, which forks a ready child for each command (``process``), and the program that uses it (``client``)."""

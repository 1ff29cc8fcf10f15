"""Published ports of the loopback of IPv6, which the kernel forwards nothing from."""

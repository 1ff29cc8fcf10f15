"""Links, addresses, nftables and ports of the kernel."""

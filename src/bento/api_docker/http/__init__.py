"""HTTP as Docker's clients speak it, on asyncio and h11: connections, requests, replies, the router."""

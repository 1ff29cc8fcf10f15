"""Trees of files on their way: out of a directory or a tar archive, into another one. No path is resolved twice."""

"""Files that a container may have put there: opened, read, moved and deleted, and whole trees and archives of them."""

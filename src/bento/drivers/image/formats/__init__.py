"""Archives and directories of images, in and out."""

"""dropdock: drop a file into a folder, and it is identified, kept, linked and captioned. The folder map is in README.md."""

__version__ = "0.1.0"

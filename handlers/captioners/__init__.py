"""Captioners: each turns one decoded picture into text, behind the one Captioner protocol of protocol.py."""

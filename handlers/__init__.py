"""HANDS: one kind of action each. They hash, decode, move and link files, return Outcomes, and never touch the store."""

"""Model files and what they say of themselves: cards, containers, foreign metadata. Formats only; nothing runs."""

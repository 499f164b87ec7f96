"""How the bodies of packed blocks are compressed, and how they become plain again."""

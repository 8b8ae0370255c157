"""The language-model judge. Heavy dependencies live here only."""

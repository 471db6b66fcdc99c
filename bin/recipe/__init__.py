"""How the bundled model is made; not installed with the package."""

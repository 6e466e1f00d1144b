"""The jobs that main.py runs, each read top-down as a story."""

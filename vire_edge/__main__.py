"""`python -m vire_edge` is `vire-edge`."""

from vire_edge.cli import main

main()

"""An independent model of the Kuvert protocol, written from docs/PROTOCOL.md alone. One module per layer."""

"""What the outside is told: spans, metrics, log events and listeners, and the providers behind them."""

"""What a new order says: the revenue around it, and where its supplier's price is heading."""

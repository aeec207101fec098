"""A made-up market: what is sold (stock), who shops (shopper), day by day (walk), and what to expect (truth)."""

"""A report over a period: the facts, and the page made from them."""

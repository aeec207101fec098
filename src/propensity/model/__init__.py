"""Networks: parts that Hydra injects into `OfferNet`. They know shapes, never a data set, a metric or a decision.

Notation: B customers, L events kept, M offers, P pair columns, F customer columns, C context columns, D width.
"""

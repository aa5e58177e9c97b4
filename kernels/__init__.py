"""PRO features: one definition (`spec`), a NumPy oracle, and its fast twins."""

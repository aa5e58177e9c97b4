"""The kinds of inference engines, a module each, as `headway.edge.engines.engine` describes."""

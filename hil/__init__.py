"""Emulators that speak real wire protocols, fault proxies and the conformance suite (planned)."""

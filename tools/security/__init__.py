"""Signed bundles on the command line: keys and trust stores, signing, verifying, installing."""

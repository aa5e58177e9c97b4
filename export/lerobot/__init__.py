"""Policies of LeRobot from their checkpoint folders.

LeRobot wants its own versions of many packages, so what imports it runs in another Python:
`importer` starts `inside` there, which needs nothing of Headway but this folder. `kinds` has a
module per type of policy.
"""

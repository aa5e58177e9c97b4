"""What may reach the arm. In the order of reading: `config` says what is allowed, `reasons` what
can be said against a command, and `guard` decides. `core` holds the arithmetic of that decision,
with `joint` for one joint's limits, `brake` for its stop and `collision` for distances. `native`
chooses between this arithmetic and its compiled twin in `cpp/`."""

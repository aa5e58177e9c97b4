"""What may reach the arm: `guard` decides, `core` and `joint` bound, `collision` looks around."""

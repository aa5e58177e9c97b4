"""Recording to MCAP outside the control loop; `headway.mcaplog` reads it back."""

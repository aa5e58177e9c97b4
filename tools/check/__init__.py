"""`headway check`: whether a bundle fits a robot and this computer, before anything moves."""

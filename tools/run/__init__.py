"""`headway run`: run and record episodes, and print how they went."""

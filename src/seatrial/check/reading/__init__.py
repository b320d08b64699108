"""What files say by themselves: what commands wait for, who needs whom, who admits whom; nothing is explored here."""

"""What a chart's objects mean as pods, for engines that run pods themselves; plain data and pure functions."""

"""From a prompt to image codes: schedules, orders, guidance, marquee header."""

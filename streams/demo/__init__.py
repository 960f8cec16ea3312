"""``leadstream demo``: a whole deployment on this machine, with simulated traffic, in simulated time."""

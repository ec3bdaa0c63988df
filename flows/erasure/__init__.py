"""`bouncehouse erase`: an address gives way to its keyed hash wherever it stands, and stays effective on the lists."""

"""A microscope that looks for rare events by itself: what moves, what is seen, what is decided, what is kept."""

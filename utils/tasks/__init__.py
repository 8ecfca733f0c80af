"""One folder for each task, and what all tasks share."""

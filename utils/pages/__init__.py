"""What is seen: colours, pictures, figures, notes, the report."""

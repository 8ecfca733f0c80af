"""The first page: what lies in a folder, which notebook fits, and how long it will take."""

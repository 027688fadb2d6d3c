"""Other tools' result files, turned into evidence."""

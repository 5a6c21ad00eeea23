"""One thin command per rule."""

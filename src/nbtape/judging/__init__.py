"""What a cell gave when it was recorded, beside what it gave when it was run again."""

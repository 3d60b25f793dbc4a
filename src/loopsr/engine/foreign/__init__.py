"""Networks of others, from files that strangers made: opened within limits, asked what they are."""

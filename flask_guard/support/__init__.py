"""Small tools that several rooms share, and that know neither policies nor requests' runs."""

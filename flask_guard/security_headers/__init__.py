"""`secure_headers`: the response headers that tell browsers to be careful."""

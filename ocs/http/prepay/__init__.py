"""TMF654 Prepay Balance (v4.0.0) over HTTP: buckets, and what is done with them."""

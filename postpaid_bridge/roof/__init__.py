"""The bridge's roof: settings, the ground that commands stand on, the server."""

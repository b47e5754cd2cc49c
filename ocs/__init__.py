"""A prepaid real-time charging server: Online Charging System in the sense of 3GPP TS 32.296."""

"""The Rating Function (TS 32.296 clause 5.2.2): usage and tariff give a price; pure."""

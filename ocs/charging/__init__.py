"""The Online Charging Function (TS 32.296 clause 5.2.1): request to Ask, Ask to Plan, Outcome to answer; pure."""

"""The Diameter protocol (RFC 6733, RFC 8506), without I/O: dictionary, grammars, codec, frames, and the peer machine."""

"""The core: arithmetic on bytes.

No file, clock, randomness, thread or log line in here; whatever of those a
function needs comes in as an argument. It may import the standard library's
pure parts, msgspec, and cryptography for verifying.
"""

"""The native core: an optional module that may say of lines "exactly right", and nothing else.

`loading` decides whether it is used; `selftest` is what it must pass for that. What it accepted is taken up
in `verifying.accepting`. Python is the reference, and judges everything that is unusual.
"""

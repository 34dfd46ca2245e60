"""The rooms of the house; none of it is API.

What users may import stands one level up; `ARCHITECTURE.md` has the map.
"""

"""Reads and writes the weight files of Bark and EnCodec in each layout that is in use."""

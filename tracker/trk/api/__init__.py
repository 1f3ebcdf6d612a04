"""Familiar faces over the core: classes that programs were written for, on trk's journal and delivery."""

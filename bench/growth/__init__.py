"""How cost grows: one curve for each thing of which there may be a million, measured at several sizes."""

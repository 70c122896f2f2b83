"""Files of labelled faces → what a run learns from, epoch by epoch: read, checked, cleaned, split, augmented."""

"""What the pipeline costs and finds, beside the naive one and others that do the same: the same frames, in turns.

    scene → Shot → contestants, one after the other → Look → spread, agreement → report

Timings of two runs, or of two machines, are not comparable; ratios within a run are.
"""

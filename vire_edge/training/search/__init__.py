"""Hyperparameters: which of the published values learn best. Optuna proposes, processes try, a database remembers."""

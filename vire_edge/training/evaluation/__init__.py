"""What a model reads in faces → how good it is, how sure that is, and what it costs."""

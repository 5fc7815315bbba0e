"""Training of the glass transition model: graphs, network, folds, baselines and export."""

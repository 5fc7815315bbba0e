"""Training of the glass transition model: tables, features, trees, networks, folds, intervals and export."""

"""What we ask: runs, studies, scores, tables and pictures; Hydra, TensorBoard and plotting live here."""

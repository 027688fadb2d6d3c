"""Domain corpora: the passages of a general corpus that are about what a question set asks, and matched controls.

Source: the domain-specific training of arXiv 2509.04796. `build` reads a corpus and a question set, ranks passages
(`ranking`, with `bm25` or `embeddings`), takes out those that give a tested question away (`contamination`), draws the
controls (`controls`, `diversity`) and writes one JSON Lines file that the corpus `jsonl` reads.
"""

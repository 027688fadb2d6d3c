"""Language models as factfade uses them: sampled from and scored, in token ids."""

"""One generation's training: documents packed into chunks, an objective, and transformers' Trainer."""

"""What changes what is asked of the model, or what is trained on, to keep facts."""

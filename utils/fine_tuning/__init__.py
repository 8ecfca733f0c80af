"""Fine-tuning: how many images are required."""

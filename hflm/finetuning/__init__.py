"""What `hflm finetune` is made of: model and rows brought together, the report before training, the card."""
